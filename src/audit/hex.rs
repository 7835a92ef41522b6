//! Fixed-size byte strings that people and JSON see as lower-case hex.

/// Why text is not the hex of a value of this size.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected {} lower-case hex digits, got {text:?}", 2 * bytes)]
pub struct NotHex {
    bytes: usize,
    text: String,
}

pub(super) fn decode<const N: usize>(text: &str) -> Result<[u8; N], NotHex> {
    let not_hex = || NotHex { bytes: N, text: text.chars().take(2 * N + 8).collect() };
    if text.len() != 2 * N || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(not_hex());
    }
    let mut out = [0; N];
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| not_hex())?;
    }
    Ok(out)
}

macro_rules! hex_bytes {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name([u8; $bytes]);

        impl $name {
            #[must_use]
            pub const fn new(bytes: [u8; $bytes]) -> Self {
                Self(bytes)
            }
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&$crate::hex::encode(&self.0))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::audit::hex::NotHex;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::audit::hex::decode(text).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(super) use hex_bytes;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hex_of_the_right_size_is_read() {
        assert_eq!(decode::<2>("0aff"), Ok([0x0a, 0xff]));
        assert_eq!(crate::hex::encode(&[0x0a, 0xff]), "0aff");
        for wrong in ["", "0af", "0aff0", "0a+f", "0agf", "0aFf", "äab"] {
            assert!(decode::<2>(wrong).is_err(), "{wrong:?}");
        }
    }
}
