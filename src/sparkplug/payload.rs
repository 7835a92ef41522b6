//! The payload, as far as numbers need it. Field numbers and types are those of the Sparkplug specification
//! 3.0 (section 6.4, "Payload Definition", and its protobuf schema); written by hand for `prost`, so that
//! no compiler of schemas is needed to build. Fields that are left out here are skipped when read.

use prost::Message;

use crate::units::Finite;

#[derive(Clone, PartialEq, Message)]
pub struct Payload {
    /// Milliseconds since 1970.
    #[prost(uint64, optional, tag = "1")]
    pub timestamp: Option<u64>,
    #[prost(message, repeated, tag = "2")]
    pub metrics: Vec<Metric>,
    #[prost(uint64, optional, tag = "3")]
    pub seq: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Metric {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    #[prost(uint64, optional, tag = "2")]
    pub alias: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    pub timestamp: Option<u64>,
    #[prost(uint32, optional, tag = "4")]
    pub datatype: Option<u32>,
    #[prost(bool, optional, tag = "5")]
    pub is_historical: Option<bool>,
    #[prost(bool, optional, tag = "7")]
    pub is_null: Option<bool>,
    #[prost(message, optional, tag = "9")]
    pub properties: Option<PropertySet>,
    #[prost(oneof = "Value", tags = "10, 11, 12, 13, 14, 15")]
    pub value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Value {
    #[prost(uint32, tag = "10")]
    Int(u32),
    #[prost(uint64, tag = "11")]
    Long(u64),
    #[prost(float, tag = "12")]
    Float(f32),
    #[prost(double, tag = "13")]
    Double(f64),
    #[prost(bool, tag = "14")]
    Boolean(bool),
    #[prost(string, tag = "15")]
    Text(String),
}

#[derive(Clone, PartialEq, Message)]
pub struct PropertySet {
    #[prost(string, repeated, tag = "1")]
    pub keys: Vec<String>,
    #[prost(message, repeated, tag = "2")]
    pub values: Vec<PropertyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PropertyValue {
    #[prost(uint32, optional, tag = "1")]
    pub datatype: Option<u32>,
    #[prost(uint32, optional, tag = "3")]
    pub int: Option<u32>,
    #[prost(string, optional, tag = "8")]
    pub text: Option<String>,
}

/// Data types by their number.
mod datatype {
    pub(super) const INT8: u32 = 1;
    pub(super) const INT16: u32 = 2;
    pub(super) const INT32: u32 = 3;
    pub(super) const INT64: u32 = 4;
    pub(super) const UINT64: u32 = 8;
    pub(super) const FLOAT: u32 = 9;
    pub(super) const DOUBLE: u32 = 10;
    pub(super) const BOOLEAN: u32 = 11;
    pub(super) const STRING: u32 = 12;
    pub(super) const UINT32: u32 = 7;
}

/// The property in which a source says whether it believes a value, and the value that means yes.
const QUALITY: &str = "Quality";
const GOOD: u32 = 192;
/// The property that holds a unit, as this program and most gateways call it; others call it otherwise.
const UNIT: &str = "engUnit";
const UNITS: [&str; 4] = [UNIT, "unit", "units", "engineeringUnits"];

impl Payload {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, prost::DecodeError> {
        Self::decode(bytes)
    }

    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    pub(super) fn metric(&self, name: &str) -> Option<&Metric> {
        self.metrics.iter().find(|m| m.name.as_deref() == Some(name))
    }
}

impl Metric {
    #[must_use]
    pub fn named(name: &str, value: Value, now_ms: u64) -> Self {
        let datatype = match value {
            Value::Int(_) => datatype::UINT32,
            Value::Long(_) => datatype::UINT64,
            Value::Float(_) => datatype::FLOAT,
            Value::Double(_) => datatype::DOUBLE,
            Value::Boolean(_) => datatype::BOOLEAN,
            Value::Text(_) => datatype::STRING,
        };
        Self {
            name: Some(name.to_owned()),
            datatype: Some(datatype),
            timestamp: Some(now_ms),
            value: Some(value),
            ..Self::default()
        }
    }

    /// One that has no value now.
    #[must_use]
    pub fn without_value(self) -> Self {
        Self { value: None, is_null: Some(true), ..self }
    }

    #[must_use]
    pub fn with_unit(self, unit: &str) -> Self {
        let text = PropertyValue { datatype: Some(datatype::STRING), int: None, text: Some(unit.to_owned()) };
        Self { properties: Some(PropertySet { keys: vec![UNIT.to_owned()], values: vec![text] }), ..self }
    }

    /// The number it holds; `datatype` is the birth's, where this one says none.
    pub(super) fn number(&self, datatype: Option<u32>) -> Option<Finite> {
        if self.is_null == Some(true) {
            return None;
        }
        let datatype = self.datatype.filter(|d| *d != 0).or(datatype).unwrap_or(0);
        let number = match self.value.as_ref()? {
            // Signed numbers come as the bits of unsigned ones.
            Value::Int(v) => match datatype {
                datatype::INT8 => f64::from(v.to_le_bytes()[0].cast_signed()),
                datatype::INT16 => {
                    let [a, b, ..] = v.to_le_bytes();
                    f64::from(i16::from_le_bytes([a, b]))
                }
                datatype::INT32 => f64::from(v.cast_signed()),
                _ => f64::from(*v),
            },
            Value::Long(v) if datatype == datatype::INT64 => v.cast_signed() as f64,
            Value::Long(v) => *v as f64,
            Value::Float(v) => f64::from(*v),
            Value::Double(v) => *v,
            Value::Boolean(v) => f64::from(*v),
            Value::Text(_) => return None,
        };
        Finite::new(number)
    }

    /// Whether the source itself does not believe it.
    pub(super) fn is_flagged(&self) -> bool {
        self.properties().filter(|(key, _)| *key == QUALITY).any(|(_, value)| value.int != Some(GOOD))
    }

    /// The unit that the source gives, in its own spelling.
    pub(super) fn unit(&self) -> Option<&str> {
        let is_unit = |key: &str| UNITS.iter().any(|unit| unit.eq_ignore_ascii_case(key));
        self.properties().find(|(key, _)| is_unit(key)).and_then(|(_, value)| value.text.as_deref())
    }

    pub(super) fn is_boolean(&self) -> bool {
        self.datatype == Some(datatype::BOOLEAN)
    }

    fn properties(&self) -> impl Iterator<Item = (&str, &PropertyValue)> {
        self.properties.iter().flat_map(|p| p.keys.iter().map(String::as_str).zip(&p.values))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn signed_numbers_are_the_bits_of_unsigned_ones() {
        let of =
            |datatype, value| Metric { datatype: Some(datatype), value: Some(value), ..Metric::default() };
        let number = |m: Metric| m.number(None).map(Finite::get);
        assert_eq!(number(of(datatype::INT16, Value::Int(0xFFFE))), Some(-2.0));
        assert_eq!(number(of(datatype::INT16, Value::Int(0xFFFF_FFFE))), Some(-2.0), "sign-extended by some");
        assert_eq!(number(of(datatype::INT8, Value::Int(0xFF))), Some(-1.0));
        assert_eq!(number(of(datatype::INT32, Value::Int(u32::MAX))), Some(-1.0));
        assert_eq!(number(of(datatype::UINT32, Value::Int(u32::MAX))), Some(4_294_967_295.0));
        assert_eq!(number(of(datatype::INT64, Value::Long(u64::MAX))), Some(-1.0));
        assert_eq!(number(of(datatype::FLOAT, Value::Float(f32::NAN))), None);
        let bare = Metric { value: Some(Value::Int(0xFFFF)), ..Metric::default() };
        assert_eq!(bare.number(Some(datatype::INT16)).map(Finite::get), Some(-1.0), "the birth's type");
        assert_eq!(bare.without_value().number(Some(datatype::INT16)), None);
    }

    proptest! {
        #[test]
        fn reading_is_total(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(payload) = Payload::read(&bytes) {
                for metric in payload.metrics {
                    prop_assert!(metric.number(None).is_none_or(|n| n.get().is_finite()));
                }
            }
        }
    }
}
