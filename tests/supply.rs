//! What the program is made of, held to `deny.toml` without cargo-deny, which takes minutes to build: licences, bans and sources.
//! `scripts/deny` runs the tool itself. And `scripts/sbom`, which says what of it is linked.

use semver_lite::{Version, is_below};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;

/// As much of versions as `deny.toml` uses.
mod semver_lite {
    /// Major, minor, patch.
    pub type Version = [u64; 3];

    /// Of a text such as `0.9.1` or `0.9.1+x`.
    pub fn version(text: &str) -> Version {
        let plain = text.split(['-', '+']).next().unwrap_or_default();
        let mut parts = plain.split('.').map(|part| part.parse().unwrap_or(0));
        [(); 3].map(|()| parts.next().unwrap_or(0))
    }

    /// Whether a version is below another, as a text.
    pub fn is_below(one: &str, other: Version) -> bool {
        version(one) < other
    }
}

struct Package {
    name: String,
    version: String,
    licence: Option<String>,
    source: Option<String>,
}

fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let done = Command::new(cargo).args(arguments).output();
    let done = done.expect("cargo runs");
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "cargo {arguments:?}: {errors}");
    String::from_utf8(done.stdout).expect("text")
}

/// All that is built or linked on the targets that `deny.toml` is about.
fn packages(rules: &toml::Table) -> Vec<Package> {
    let targets = rules["graph"]["targets"].as_array().expect("targets");
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for target in targets {
        let target = target.as_str().expect("a target");
        let text = cargo(&[
            "metadata",
            "--locked",
            "--offline",
            "--format-version=1",
            "--filter-platform",
            target,
        ]);
        let metadata: Value = serde_json::from_str(&text).expect("metadata");
        for package in metadata["packages"].as_array().expect("packages") {
            if !seen.insert(package["id"].to_string()) {
                continue;
            }
            let text = |key: &str| package[key].as_str().map(str::to_owned);
            all.push(Package {
                name: text("name").unwrap_or_default(),
                version: text("version").unwrap_or_default(),
                licence: text("license"),
                source: text("source"),
            });
        }
    }
    assert!(all.len() > 100, "only {}", all.len());
    all
}

fn rules() -> toml::Table {
    let text = std::fs::read_to_string("deny.toml").expect("deny.toml");
    text.parse().expect("deny.toml is TOML")
}

fn strings(value: &toml::Value) -> BTreeSet<String> {
    let list = value.as_array().expect("a list");
    let text = |it: &toml::Value| it.as_str().expect("a text").to_owned();
    list.iter().map(text).collect()
}

/// Whether an SPDX expression can be met with these licences, and which of them that takes. The old slash means `OR`.
fn is_met(expression: &str, allowed: &BTreeSet<String>, used: &mut BTreeSet<String>) -> bool {
    let expression = expression.replace('/', " OR ");
    let spaced = expression.replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let (met, rest) = either(&words, allowed, used);
    assert!(rest.is_empty(), "not understood: {expression}");
    met
}

fn either<'w, 's>(
    words: &'s [&'w str],
    allowed: &BTreeSet<String>,
    used: &mut BTreeSet<String>,
) -> (bool, &'s [&'w str]) {
    let (mut met, mut rest) = both(words, allowed, used);
    while let ["OR", after @ ..] = rest {
        let (other, behind) = both(after, allowed, used);
        met |= other;
        rest = behind;
    }
    (met, rest)
}

fn both<'w, 's>(
    words: &'s [&'w str],
    allowed: &BTreeSet<String>,
    used: &mut BTreeSet<String>,
) -> (bool, &'s [&'w str]) {
    let (mut met, mut rest) = one(words, allowed, used);
    while let ["AND", after @ ..] = rest {
        let (other, behind) = one(after, allowed, used);
        met &= other;
        rest = behind;
    }
    (met, rest)
}

fn one<'w, 's>(
    words: &'s [&'w str],
    allowed: &BTreeSet<String>,
    used: &mut BTreeSet<String>,
) -> (bool, &'s [&'w str]) {
    let (name, rest) = match words {
        ["(", inner @ ..] => {
            let (met, rest) = either(inner, allowed, used);
            return (met, rest.get(1..).unwrap_or_default());
        }
        [name, "WITH", exception, rest @ ..] => (format!("{name} WITH {exception}"), rest),
        [name, rest @ ..] => ((*name).to_owned(), rest),
        [] => return (false, &[]),
    };
    let met = allowed.contains(&name);
    if met {
        used.insert(name);
    }
    (met, rest)
}

#[test]
fn every_licence_is_one_that_is_allowed() {
    let rules = rules();
    let allowed = strings(&rules["licenses"]["allow"]);
    let mut used = BTreeSet::new();
    let refused: Vec<String> = packages(&rules)
        .iter()
        .filter(|package| {
            let licence = package.licence.as_deref();
            !licence.is_some_and(|licence| is_met(licence, &allowed, &mut used))
        })
        .map(|it| format!("{} {}: {:?}", it.name, it.version, it.licence))
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
    assert_eq!(used, allowed, "allowed in deny.toml, and used by nobody");
}

#[test]
fn nothing_comes_from_elsewhere_or_is_banned() {
    let rules = rules();
    let index = strings(&rules["sources"]["allow-registry"]);
    let packages = packages(&rules);
    for package in &packages {
        let known = |source: &String| {
            let from = source.strip_prefix("registry+");
            from.is_some_and(|from| index.contains(from))
        };
        let own = package.name == "forebay";
        assert!(
            own || package.source.as_ref().is_some_and(known),
            "{} {} is from {:?}, not from {index:?}",
            package.name,
            package.version,
            package.source
        );
    }
    for ban in rules["bans"]["deny"].as_array().expect("bans") {
        let banned = ban["crate"].as_str().expect("a crate");
        let (name, below) = match banned.split_once(":<") {
            Some((name, version)) => (name, Some(semver_lite::version(version))),
            None => (banned, None),
        };
        let is_banned = |it: &&Package| {
            let is = |below: Version| is_below(&it.version, below);
            it.name == name && below.is_none_or(is)
        };
        let found = packages.iter().find(is_banned);
        let version = found.map(|it| it.version.as_str());
        assert_eq!(version, None, "{name}: {}", ban["reason"]);
    }
}

#[test]
fn expressions_of_licences() {
    let allowed = ["MIT", "Apache-2.0 WITH LLVM-exception", "ISC"];
    let allowed: BTreeSet<String> = allowed.iter().map(|&it| it.to_owned()).collect();
    for (expression, met) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("MIT OR GPL-3.0", true),
        ("MIT/Apache-2.0", true),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR GPL-3.0) AND ISC", true),
        ("(GPL-3.0 OR BSD-3-Clause) AND ISC", false),
        ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true),
        ("Apache-2.0", false),
        ("", false),
    ] {
        let found = is_met(expression, &allowed, &mut BTreeSet::new());
        assert_eq!(found, met, "{expression}");
    }
}

#[test]
fn the_list_of_what_is_linked_is_whole() {
    let done = Command::new("scripts/sbom").output().expect("scripts/sbom");
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{errors}");
    let list: Value = serde_json::from_slice(&done.stdout).expect("JSON");
    assert_eq!(list["bomFormat"], "CycloneDX");
    let own = &list["metadata"]["component"];
    assert_eq!(own["version"], env!("CARGO_PKG_VERSION"));
    let crates = list["components"].as_array().expect("crates");
    let names: BTreeSet<&str> = crates.iter().filter_map(|it| it["name"].as_str()).collect();
    for linked in ["pingora-core", "rustls", "h2", "tokio", "mimalloc"] {
        assert!(names.contains(linked), "{linked}");
    }
    for tool in ["proptest", "criterion", "insta"] {
        assert!(!names.contains(tool), "{tool} is not linked");
    }
    for component in crates {
        let sum = component["hashes"][0]["content"].as_str();
        assert_eq!(sum.map(str::len), Some(64), "{component}");
        assert!(
            component["licenses"][0]["expression"].is_string(),
            "{component}"
        );
    }
    let references: BTreeSet<String> = crates.iter().map(|it| it["bom-ref"].to_string()).collect();
    assert_eq!(references.len(), crates.len(), "each once");
}
