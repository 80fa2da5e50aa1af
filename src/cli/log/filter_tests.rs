//! Filters: what they take, what is wrong with them, and that nothing makes the reader fall over.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn entry() -> Map<String, Value> {
    let value = json!({
        "client": "192.0.2.60", "id": "0123", "method": "GET", "host": "shop.example", "path": "/api/items, all",
        "query": "q=1", "status": 502, "bytes_in": 0, "bytes_out": 20_480, "duration_ms": 1_234.5, "route": "api",
        "cache": "miss", "cache_reason": "set-cookie", "cache_ttl": -3, "collapsed": true, "tls": false,
        "upstream": "api", "upstream_addr": "10.0.0.2:8000", "hold_ms": 2.0, "tries": 2, "end": "complete"
    });
    match value {
        Value::Object(entry) => entry,
        _ => Map::new(),
    }
}

#[test]
fn what_is_taken() {
    for (filter, taken) in [
        ("", true),
        ("  ", true),
        ("status>=500", true),
        ("status >= 500", true),
        ("status<500", false),
        ("status=502", true),
        ("status!=502", false),
        ("status=5xx", true),
        ("status!=5xx", false),
        ("status>=4xx", true),
        ("status<5xx", false),
        ("cache=miss", true),
        ("cache!=miss", false),
        ("cache=stale", false),
        ("cache^=mi", true),
        ("cache*=x", false),
        ("end!=refused", true),
        ("proto=HTTP/2.0", false),
        ("route=api", true),
        ("path^=/api/", true),
        ("path$=all", true),
        ("path*=items", true),
        ("path*=Items", false),
        (r#"path="/api/items, all""#, true),
        ("duration>1s", true),
        ("duration>1.2345s", false),
        ("duration>=1.2345s", true),
        ("duration<1234ms", false),
        ("hold=2ms", true),
        ("reason=set-cookie", true),
        ("cache_reason=set-cookie", true),
        ("bytes>=20KiB", true),
        ("bytes>20480", false),
        ("bytes_in=0", true),
        ("ttl<0", true),
        ("ttl>-4", true),
        ("tries>1", true),
        ("collapsed=true", true),
        ("collapsed=false", false),
        ("collapsed!=true", false),
        ("tls=false", true),
        ("server^=10.0.0.", true),
        // What is absent is neither this nor that.
        ("queue>0", false),
        ("queue<1s", false),
        ("queue=0", false),
        ("queue!=1s", true),
        ("agent=curl", false),
        ("agent!=curl", true),
        // All must be so.
        ("status>=500 and cache=miss", true),
        ("status>=500,cache=miss", true),
        ("status>=500 , cache=hit", false),
        ("status=200, cache=miss", false),
        ("status=5xx and route=api, duration>1s and tries=2", true),
    ] {
        let read = Filter::parse(filter);
        assert_eq!(read.map(|it| it.takes(&entry())), Ok(taken), "{filter}");
    }
}

#[test]
fn what_is_wrong() {
    for (filter, message) in [
        (
            "statsu>=500",
            "unknown key `statsu`; did you mean `status`?\n  statsu>=500\n  ^^^^^^",
        ),
        (
            "cache=miss and colour=red",
            "unknown key `colour`; known: age, agent, ",
        ),
        (
            "status~500",
            "expected a comparison behind `status`, such as `=`\n  status~500\n        ^",
        ),
        (
            "status",
            "expected a comparison behind `status`, such as `=`\n  status\n        ^",
        ),
        (
            "status^=5",
            "`status` cannot be compared by `^=`; expected one of !=  <=  >=  =  <  >\n  status^=5\n        ^^",
        ),
        (
            "path>a",
            "`path` cannot be compared by `>`; expected one of !=  ^=  $=  *=  =\n",
        ),
        (
            "tls<true",
            "`tls` cannot be compared by `<`; expected one of !=  =\n",
        ),
        (
            "status=ok",
            "`ok` is not a value of `status`; expected a status such as 404, or a class such as 5xx\n  status=ok\n         ^^",
        ),
        (
            "cache=foo",
            "`foo` is not a value of `cache`; expected one of hit, stale, revalidated, miss, collapsed, bypass\n  cache=foo\n        ^^^",
        ),
        (
            "end!=done",
            "`done` is not a value of `end`; expected one of complete, client_gone, upstream_cut, timed_out, refused, shutdown, failed\n",
        ),
        (
            "proto=h2",
            "`h2` is not a value of `proto`; expected one of HTTP/1.0, HTTP/1.1, HTTP/2.0\n",
        ),
        (
            "duration>1",
            "`1` is not a value of `duration`; expected a time such as 250ms or 1s\n",
        ),
        (
            "bytes>big",
            "`big` is not a value of `bytes`; expected a size such as 500, 10KiB or 1MiB\n",
        ),
        (
            "tls=yes",
            "`yes` is not a value of `tls`; expected true or false\n",
        ),
        (
            "tries=inf",
            "`inf` is not a value of `tries`; expected a number\n",
        ),
        (
            "cache=",
            "expected a value for `cache`\n  cache=\n        ^",
        ),
        ("cache=,route=a", "expected a value for `cache`\n"),
        ("path=\"a", "a quote is not closed\n  path=\"a\n       ^^"),
        (
            "cache=miss route=a",
            "expected `and` or `,` between conditions, found `route=a`\n  cache=miss route=a\n             ^^^^^^^",
        ),
        (
            "cache=miss or cache=hit",
            "there is no `or`: run `forebay log` twice, or choose a wider condition\n",
        ),
        (
            "cache=miss,",
            "expected a key, such as `status`\n  cache=miss,\n             ^",
        ),
        (
            "path=ä and ö=1",
            "expected a key, such as `status`\n  path=ä and ö=1\n             ^",
        ),
    ] {
        let error = Filter::parse(filter).expect_err(filter).to_string();
        assert!(error.starts_with(message), "{filter}:\n{error}");
    }
}

proptest! {
    /// Whatever is typed is read or refused, and what is refused is marked within what was typed.
    #[test]
    fn whatever_is_typed(text in "[a-z_]{0,8}[=!<>^$*~]{0,2}.{0,16}", junk in any::<String>()) {
        for text in [&text, &junk, &format!("{text} and {junk}"), &format!("status=200,{text}")] {
            match Filter::parse(text) {
                Ok(filter) => { filter.takes(&entry()); }
                Err(error) => {
                    let characters = text.chars().count();
                    prop_assert!(error.at <= characters && error.at + error.length <= characters, "{error:?}");
                }
            }
        }
    }

    /// A filter that is written again is the same filter.
    #[test]
    fn written_and_read_again(values in prop::collection::vec((0..KEYS.len(), 0..9usize, "[^\\p{Cc}]{0,12}", 0..2_000u32), 1..5)) {
        let mut conditions = Vec::new();
        for (key, operator, text, number) in values {
            let (name, in_log, kind) = KEYS[key];
            let (_, operator) = Operator::ALL[operator];
            let value = match kind.compared_by(operator) {
                Kind::Text => text,
                Kind::Word(words) => words[number as usize % words.len()].to_owned(),
                Kind::Number | Kind::Status | Kind::Size => number.to_string(),
                Kind::Time => format!("{number}ms"),
                Kind::Flag => (number % 2 == 0).to_string(),
            };
            if operator.suits(kind) {
                let operand = operand(kind.compared_by(operator), &value).expect("made to be one");
                conditions.push(Condition { key: in_log, operator, operand, written: (name.to_owned(), value) });
            }
        }
        let filter = Filter { conditions };
        prop_assert_eq!(Filter::parse(&filter.to_string()), Ok(filter));
    }
}
