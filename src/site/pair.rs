//! `[lowest, highest]` in a site file. By itself serde takes the first two of a longer list and says nothing of the rest.

use serde::{Deserialize, Deserializer, de::Error};

use crate::units::Finite;

pub(super) fn two<'de, D: Deserializer<'de>>(from: D) -> Result<[Finite; 2], D::Error> {
    pair(Vec::deserialize(from)?)
}

pub(super) fn two_or_none<'de, D: Deserializer<'de>>(from: D) -> Result<Option<[Finite; 2]>, D::Error> {
    Option::deserialize(from)?.map(pair).transpose()
}

fn pair<E: Error>(values: Vec<Finite>) -> Result<[Finite; 2], E> {
    let count = values.len();
    values.try_into().map_err(|_| E::invalid_length(count, &"two numbers, [lowest, highest]"))
}
