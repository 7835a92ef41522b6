//! `[lowest, highest]` in a site file. By itself serde takes the first two of a longer list and says nothing of the rest.

use serde::{Deserialize, Deserializer, de::Error};

use crate::units::Finite;

pub(super) fn two<'de, D: Deserializer<'de>>(from: D) -> Result<[Finite; 2], D::Error> {
    let values = Vec::<Finite>::deserialize(from)?;
    let count = values.len();
    values.try_into().map_err(|_| D::Error::invalid_length(count, &"two numbers, [lowest, highest]"))
}

pub(super) fn two_or_none<'de, D: Deserializer<'de>>(from: D) -> Result<Option<[Finite; 2]>, D::Error> {
    struct Two([Finite; 2]);
    impl<'de> Deserialize<'de> for Two {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            two(from).map(Self)
        }
    }
    Ok(Option::<Two>::deserialize(from)?.map(|two| two.0))
}
