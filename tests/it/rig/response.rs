//! An answer as it came, with the assertions that scenarios make about it.

use super::wire::{Body, Head};

/// An answer, whole or not.
#[derive(Debug, Clone, Default)]
pub struct Response {
    /// The final head.
    pub head: Head,
    /// Its status.
    pub status: u16,
    /// The 1xx answers in front of it.
    pub interim: Vec<(u16, Vec<(String, String)>)>,
    /// Its body.
    pub body: Body,
    /// What broke it off, when it is not whole.
    pub cut: Option<String>,
}

impl Response {
    /// It is whole and has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(
            (self.status, self.cut.as_deref()),
            (status, None),
            "{self:#?}"
        );
        self
    }

    /// It has this status, and its end is missing in a way that the client can see.
    #[track_caller]
    pub fn expect_cut(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:#?}");
        assert!(self.cut.is_some(), "the answer looks whole: {self:#?}");
        self
    }

    /// The field is there once, with this value.
    #[track_caller]
    pub fn header(self, name: &str, value: &str) -> Self {
        assert_eq!(self.head.all(name), [value], "{name} in {self:#?}");
        self
    }

    /// The field is there in these lines.
    #[track_caller]
    pub fn header_lines(self, name: &str, values: &[&str]) -> Self {
        assert_eq!(self.head.all(name), values, "{name} in {self:#?}");
        self
    }

    /// The field is not there.
    #[track_caller]
    pub fn no_header(self, name: &str) -> Self {
        assert!(self.head.all(name).is_empty(), "{name} in {self:#?}");
        self
    }

    /// The body is this.
    #[track_caller]
    pub fn body(self, body: impl AsRef<[u8]>) -> Self {
        assert!(
            self.body.content == body.as_ref(),
            "expected {:?} in {self:#?}",
            Body::of(body.as_ref())
        );
        self
    }

    /// The body contains this.
    #[track_caller]
    pub fn body_contains(self, part: &str) -> Self {
        assert!(self.text().contains(part), "no {part:?} in {self:#?}");
        self
    }

    /// The trailer field is there once, with this value.
    #[track_caller]
    pub fn trailer(self, name: &str, value: &str) -> Self {
        let same = |(n, _): &&(String, String)| n.eq_ignore_ascii_case(name);
        let found: Vec<_> = self
            .body
            .trailers
            .iter()
            .filter(same)
            .map(|(_, v)| v.as_str())
            .collect();
        assert_eq!(found, [value], "{name} in {self:#?}");
        self
    }

    /// The 1xx answers in front of it had these statuses.
    #[track_caller]
    pub fn interim(self, statuses: &[u16]) -> Self {
        let found: Vec<u16> = self.interim.iter().map(|(status, _)| *status).collect();
        assert_eq!(found, statuses, "{self:#?}");
        self
    }

    /// The one value of a field; panics when it is missing.
    #[track_caller]
    pub fn value(&self, name: &str) -> &str {
        self.head
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {self:#?}"))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body.content).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body.content).unwrap_or_else(|e| panic!("{e} in {self:#?}"))
    }
}
