//! A password as a file keeps it: which ways of keeping one are good enough, and whether one fits.

use argon2::password_hash::PasswordHash;
use argon2::{Argon2, PasswordVerifier};
use md5::{Digest, Md5};
use sha_crypt::{Sha256Params, Sha512Params, sha256_crypt_b64, sha512_crypt_b64};
use subtle::ConstantTimeEq;

/// A longer password is nobody's: some of the ways take time by the square of it.
const PASSWORD_MAX: usize = 512;
/// Of `$5$` and `$6$` where the line does not say.
const ROUNDS: usize = 5_000;
/// More would keep a thread for longer than some second, as do the limits of the others.
const ROUNDS_MAX: usize = 1_000_000;
/// bcrypt's cost: the work is two to the power of it.
const COST_MAX: u32 = 14;
/// KiB that argon2 may take for one try.
const MEMORY_MAX: u32 = 256 * 1024;
/// KiB that all of its passes together may go over.
const PASSES_MAX: u64 = 1024 * 1024;

/// A password that cannot be read back.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Hash {
    kind: Kind,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Bcrypt,
    Argon2,
    Sha256,
    Sha512,
    Apr1,
}

/// Why a line's password is not taken. None of them shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Nothing is there.
    #[error("no password")]
    Absent,
    /// `{SHA}` and its like.
    #[error("the password is a plain SHA-1 digest, which is guessed at a billion tries a second")]
    Sha1,
    /// A kind that is not known, which is most probably the password itself.
    #[error(
        "the password is not hashed, or in a way that is not known; $2y$, $argon2id$, $6$, $5$ and $apr1$ are"
    )]
    Unknown,
    /// A known kind, but not as it should be.
    #[error("the password's hash is damaged")]
    Malformed,
    /// A try would take seconds, or much memory.
    #[error("{what} of its hash is {found}, more than {most}: each try would take too long")]
    Dear {
        /// Of what there is too much.
        what: &'static str,
        /// How much there is.
        found: u64,
        /// How much there may be.
        most: u64,
    },
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Hash").field(&self.kind).finish()
    }
}

impl Hash {
    /// Reads one.
    ///
    /// # Errors
    /// [`Unfit`].
    pub(super) fn parse(text: &str) -> Result<Self, Unfit> {
        let any_of = |beginnings: &[&str]| beginnings.iter().any(|it| text.starts_with(it));
        let kind = if text.is_empty() {
            return Err(Unfit::Absent);
        } else if any_of(&["$2y$", "$2b$", "$2a$"]) {
            Kind::Bcrypt
        } else if any_of(&["$argon2id$", "$argon2i$", "$argon2d$"]) {
            Kind::Argon2
        } else if any_of(&["$5$"]) {
            Kind::Sha256
        } else if any_of(&["$6$"]) {
            Kind::Sha512
        } else if any_of(&["$apr1$"]) {
            Kind::Apr1
        } else if any_of(&["{SHA}", "{SSHA}"]) {
            return Err(Unfit::Sha1);
        } else {
            return Err(Unfit::Unknown);
        };
        match kind {
            Kind::Bcrypt => {
                let cost = bcrypt_cost(text).ok_or(Unfit::Malformed)?;
                affordable("the cost", cost.into(), COST_MAX.into())?;
            }
            Kind::Argon2 => {
                let params = argon2_params(text).ok_or(Unfit::Malformed)?;
                let (memory, passes) = (u64::from(params.m_cost()), u64::from(params.t_cost()));
                affordable("`m`, the memory in KiB,", memory, MEMORY_MAX.into())?;
                affordable("`m` times `t`, in KiB,", memory * passes, PASSES_MAX)?;
            }
            Kind::Sha256 | Kind::Sha512 | Kind::Apr1 => {
                let length = match kind {
                    Kind::Sha256 => 43,
                    Kind::Sha512 => 86,
                    _ => 22,
                };
                let crypt = Crypt::of(text).filter(|it| it.digest.len() == length);
                let rounds = crypt.ok_or(Unfit::Malformed)?.rounds;
                affordable("`rounds`", rounds as u64, ROUNDS_MAX as u64)?;
            }
        }
        let text = text.to_owned();
        Ok(Self { kind, text })
    }

    /// As the file has it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether a password is the one. Takes its time, on purpose: not for a data thread.
    pub(super) fn fits(&self, password: &[u8]) -> bool {
        if password.len() > PASSWORD_MAX {
            return false;
        }
        match self.kind {
            Kind::Bcrypt => bcrypt::verify(password, &self.text).unwrap_or(false),
            Kind::Argon2 => PasswordHash::new(&self.text)
                .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok()),
            Kind::Sha256 | Kind::Sha512 | Kind::Apr1 => {
                let Some(crypt) = Crypt::of(&self.text) else {
                    return false;
                };
                let digest = crypt.digest_of(self.kind, password);
                digest.is_some_and(|it| it.as_bytes().ct_eq(crypt.digest.as_bytes()).into())
            }
        }
    }
}

/// What bcrypt costs in lines that are made here: some 50 ms.
const COST: u32 = 10;

/// A hash of a password, as bcrypt makes it.
///
/// # Errors
/// Why there can be none.
pub(super) fn make(password: &str) -> Result<String, &'static str> {
    if password.is_empty() {
        return Err("there is no password on standard input");
    }
    let made = bcrypt::non_truncating_hash_with_result(password, COST);
    let made = made.map_err(|_| "bcrypt takes passwords of up to 71 octets; take a shorter one")?;
    Ok(made.format_for_version(bcrypt::Version::TwoY))
}

fn affordable(what: &'static str, found: u64, most: u64) -> Result<(), Unfit> {
    if found > most {
        return Err(Unfit::Dear { what, found, most });
    }
    Ok(())
}

fn argon2_params(text: &str) -> Option<argon2::Params> {
    let hash = PasswordHash::new(text).ok()?;
    hash.hash?;
    argon2::Params::try_from(&hash).ok()
}

/// The cost of `$2y$` two digits `$` and 53 letters.
fn bcrypt_cost(text: &str) -> Option<u32> {
    let (cost, rest) = text.get(4..)?.split_once('$')?;
    let letters = |octet: u8| octet.is_ascii_alphanumeric() || b"./".contains(&octet);
    let good = cost.len() == 2 && rest.len() == 53 && rest.bytes().all(letters);
    let cost = cost.parse().ok().filter(|cost| (4..=31).contains(cost));
    cost.filter(|_| good)
}

/// The parts of `$6$rounds=5000$salt$digest` and its like.
struct Crypt<'a> {
    rounds: usize,
    salt: &'a str,
    digest: &'a str,
}

impl<'a> Crypt<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let (_, rest) = text.strip_prefix('$')?.split_once('$')?;
        let (rounds, rest) = match rest.strip_prefix("rounds=") {
            Some(rest) => {
                let (rounds, rest) = rest.split_once('$')?;
                (rounds.parse().ok()?, rest)
            }
            None => (ROUNDS, rest),
        };
        let (salt, digest) = rest.split_once('$')?;
        let letters = |octet: u8| octet.is_ascii_alphanumeric() || b"./".contains(&octet);
        digest.bytes().all(letters).then_some(Self {
            // As crypt(3) does it.
            rounds: rounds.max(1_000),
            salt,
            digest,
        })
    }

    fn digest_of(&self, kind: Kind, password: &[u8]) -> Option<String> {
        match kind {
            Kind::Sha256 => {
                // crypt(3) takes no more of a salt.
                let salt = self
                    .salt
                    .as_bytes()
                    .get(..16)
                    .unwrap_or(self.salt.as_bytes());
                let params = Sha256Params::new(self.rounds).ok()?;
                sha256_crypt_b64(password, salt, &params).ok()
            }
            Kind::Sha512 => {
                let salt = self
                    .salt
                    .as_bytes()
                    .get(..16)
                    .unwrap_or(self.salt.as_bytes());
                let params = Sha512Params::new(self.rounds).ok()?;
                sha512_crypt_b64(password, salt, &params).ok()
            }
            Kind::Apr1 => Some(apr1(password, self.salt.as_bytes())),
            Kind::Bcrypt | Kind::Argon2 => None,
        }
    }
}

/// Apache's variety of the MD5 crypt: a thousand rounds. Weak by now, but what `htpasswd` writes unless told otherwise.
fn apr1(password: &[u8], salt: &[u8]) -> String {
    const ROUNDS: usize = 1_000;
    let salt = salt.get(..8).unwrap_or(salt);
    let mut digest = md5(&[password, salt, password]);
    let mut first = Md5::new();
    first.update(password);
    first.update(b"$apr1$");
    first.update(salt);
    for piece in password.chunks(digest.len()) {
        first.update(digest.get(..piece.len()).unwrap_or_default());
    }
    let mut bits = password.len();
    while bits > 0 {
        if bits & 1 == 1 {
            first.update([0]);
        } else {
            first.update(password.get(..1).unwrap_or_default());
        }
        bits >>= 1;
    }
    digest = first.finalize().into();
    for round in 0..ROUNDS {
        let (one, other): (&[u8], &[u8]) = if round % 2 == 1 {
            (password, &digest)
        } else {
            (&digest, password)
        };
        let salted = if round % 3 == 0 { &[][..] } else { salt };
        let again = if round % 7 == 0 { &[][..] } else { password };
        digest = md5(&[one, salted, again, other]);
    }
    encoded(&digest)
}

fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = Md5::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// In crypt(3)'s letters: three octets are four of them, the lowest bits first, in an order of its own.
fn encoded(digest: &[u8; 16]) -> String {
    const LETTERS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let [
        d0,
        d1,
        d2,
        d3,
        d4,
        d5,
        d6,
        d7,
        d8,
        d9,
        d10,
        d11,
        d12,
        d13,
        d14,
        d15,
    ] = *digest;
    let groups = [
        ([d0, d6, d12], 4),
        ([d1, d7, d13], 4),
        ([d2, d8, d14], 4),
        ([d3, d9, d15], 4),
        ([d4, d10, d5], 4),
        ([0, 0, d11], 2),
    ];
    let mut text = String::with_capacity(22);
    for ([high, middle, low], letters) in groups {
        let mut value = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        for _ in 0..letters {
            text.push(char::from(LETTERS.get(value % 64).copied().unwrap_or(b'.')));
            value /= 64;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::PasswordHasher;
    use argon2::password_hash::SaltString;

    fn argon2id(password: &str) -> String {
        let salt = SaltString::from_b64("c2FsdHNhbHRzYWx0").expect("a salt");
        let params = argon2::Params::new(16, 1, 1, None).expect("parameters");
        let hasher = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
        let hash = hasher.hash_password(password.as_bytes(), &salt);
        hash.expect("a hash").to_string()
    }

    /// All but the last made by other programs: OpenSSL and the C library.
    #[test]
    fn each_kind_fits_its_password_and_no_other() {
        let long = "0123456789abcdefXYZ!";
        for (password, text) in [
            ("secret", "$apr1$9sNvqYxX$JCrMXxVFbAHMZmqNe/r8t1".to_owned()),
            (long, "$apr1$ab$Ao6bqxPsd4Wt0hDCzCQlE.".to_owned()),
            ("secret", "$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA".to_owned()),
            ("secret", "$5$rounds=1000$saltsalt$eKLZU9t9OoPWrqOQsoTIKG0aYkZ5rGOoOQhiIvoSWX2".to_owned()),
            ("secret", "$6$rounds=1000$saltsalt$LAV5VE5Y7w1d73x1mFNspYWUpazfmwv2SoepNXNKJ/otop/Zok96Hr8Q13LEv0DRY/x8v0/crpIjl8NJSAqXV/".to_owned()),
            ("secret", "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW".to_owned()),
            ("secret", "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW".to_owned()),
            ("secret", argon2id("secret")),
        ] {
            let hash = Hash::parse(&text).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert!(hash.fits(password.as_bytes()), "{text}");
            for wrong in ["", "Secret", "secret ", &"s".repeat(4_000)] {
                assert!(!hash.fits(wrong.as_bytes()), "{text} {wrong}");
            }
            assert!(!format!("{hash:?}").contains(&text[8..]), "{hash:?}");
        }
    }

    #[test]
    fn what_is_not_taken() {
        let dear = |what, found, most| Unfit::Dear { what, found, most };
        for (text, expected) in [
            ("", Unfit::Absent),
            ("secret", Unfit::Unknown),
            ("rl4FrpPq9zDoE", Unfit::Unknown),
            ("$1$abc$def", Unfit::Unknown),
            ("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", Unfit::Sha1),
            ("$2y$10$short", Unfit::Malformed),
            (
                "$2y$99$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
                Unfit::Malformed,
            ),
            (
                "$2y$15$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
                dear("the cost", 15, 14),
            ),
            (
                "$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAA",
                dear("`m`, the memory in KiB,", 4_194_304, 262_144),
            ),
            (
                "$argon2id$v=19$m=65536,t=17,p=1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAA",
                dear("`m` times `t`, in KiB,", 1_114_112, 1_048_576),
            ),
            ("$apr1$salt", Unfit::Malformed),
            ("$6$salt$short", Unfit::Malformed),
            (
                "$5$rounds=999999999$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA",
                dear("`rounds`", 999_999_999, 1_000_000),
            ),
            ("$argon2id$v=19$m=16", Unfit::Malformed),
        ] {
            assert_eq!(Hash::parse(text), Err(expected), "{text}");
        }
    }
}
