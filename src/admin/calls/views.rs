//! `/` and `/stats`: the status page, and what it draws.

use http::HeaderValue;

use super::Outcome;
use crate::admin::answer;
use crate::admin::asked::Asked;
use crate::admin::page::PAGE;

/// `/`: the same for everybody, without the token too. It holds nothing but the means to ask for it.
#[expect(
    clippy::unnecessary_wraps,
    reason = "one signature for all calls, though this one cannot fail"
)]
pub(super) fn page(_: &Asked) -> Outcome {
    let mut answer = answer::text_of("text/html; charset=utf-8", PAGE.html.as_bytes());
    for (name, value) in &PAGE.fields {
        if let Ok(value) = HeaderValue::from_str(value) {
            answer.headers_mut().insert(name, value);
        }
    }
    Ok(answer)
}

/// `/stats`, on one line: it is asked for every second, and a script can read it line by line.
pub(super) async fn stats(asked: Asked) -> Outcome {
    let stats = asked.control.stats().await;
    // A plain structure, which always has a JSON form.
    let mut text = serde_json::to_string(&stats).unwrap_or_default();
    text.push('\n');
    Ok(answer::text_of("application/json", text))
}
