//! The compact form in which payloads are stored: CBOR (RFC 8949) with numbered fields.
//!
//! Structs are arrays by field number, enums are `[number, field…]`, so that a field or variant can be added and no
//! name is repeated. The numbers stand beside the fields of the types. Here are the forms of those types that have
//! one of their own: hashes and ids are byte strings, values are CBOR's own kinds, and a reference to a blob has a
//! tag, so that it can be found in a payload by those who know no events.

use std::sync::Arc;

use minicbor::data::{Tag, Type};
use minicbor::decode::Error as DecodeError;
use minicbor::encode::{Error as EncodeError, Write};
use minicbor::{Decode, Decoder, Encode, Encoder};
use serde_json::{Map, Number, Value};
use uuid::Uuid;

use crate::data::BlobRef;
use crate::error::Code;
use crate::hash::Hash;
use crate::id::{RunId, TenantId};
use crate::limits;
use crate::path::StepPath;

/// The tag of a reference to a blob: `45323([address, bytes])`, from the range that is free for anybody's use.
pub const BLOB_TAG: u64 = 0xB10B;

type Written<W> = Result<(), EncodeError<<W as Write>::Error>>;

impl<C> Encode<C> for Hash {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Written<W> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Hash {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        fixed(d).map(Self)
    }
}

fn fixed<const N: usize>(d: &mut Decoder<'_>) -> Result<[u8; N], DecodeError> {
    let at = d.position();
    let bytes = d.bytes()?;
    bytes.try_into().map_err(|_| DecodeError::message("bytes of another length").at(at))
}

macro_rules! uuids {
    ($($name:ident),*) => {
        $(
            impl<C> Encode<C> for $name {
                fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Written<W> {
                    e.bytes(self.0.as_bytes())?.ok()
                }
            }

            impl<'b, C> Decode<'b, C> for $name {
                fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
                    fixed(d).map(Uuid::from_bytes).map(Self)
                }
            }
        )*
    };
}

uuids!(RunId, TenantId);

impl<C> Encode<C> for StepPath {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Written<W> {
        e.str(self.as_str())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for StepPath {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        d.str().map(Self::from)
    }
}

impl<C> Encode<C> for Code {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Written<W> {
        e.str(self.as_str())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Code {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        let at = d.position();
        let word = d.str()?;
        word.parse().map_err(|_| DecodeError::message("an unknown error code").at(at))
    }
}

impl<C> Encode<C> for BlobRef {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Written<W> {
        e.tag(Tag::new(BLOB_TAG))?.array(2)?.bytes(&self.blob.0)?.u64(self.bytes)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for BlobRef {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, DecodeError> {
        let at = d.position();
        if d.tag()? != Tag::new(BLOB_TAG) || d.array()? != Some(2) {
            return Err(DecodeError::message("not a reference to a blob").at(at));
        }
        Ok(Self { blob: Hash(fixed(d)?), bytes: d.u64()? })
    }
}

/// What is shared in memory is stored as what it is.
pub(crate) mod shared {
    use super::{Arc, Decode, DecodeError, Decoder, Encode, Encoder, Write, Written};

    pub(crate) fn encode<C, T: Encode<C>, W: Write>(
        value: &Arc<T>,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Written<W> {
        T::encode(value, e, ctx)
    }

    pub(crate) fn decode<'b, C, T: Decode<'b, C>>(
        d: &mut Decoder<'b>,
        ctx: &mut C,
    ) -> Result<Arc<T>, DecodeError> {
        T::decode(d, ctx).map(Arc::new)
    }
}

/// JSON values: null, booleans, texts, arrays and maps as such; whole numbers as integers, all others as 64-bit
/// floats, so that each number comes back as it was.
pub(crate) mod value {
    use super::{Arc, DecodeError, Decoder, Encoder, Value, Write, Written, read, write};

    pub(crate) fn encode<C, W: Write>(
        value: &Arc<Value>,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Written<W> {
        write(value, e)
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Arc<Value>, DecodeError> {
        read(d, 0).map(Arc::new)
    }
}

fn write<W: Write>(value: &Value, e: &mut Encoder<W>) -> Written<W> {
    match value {
        Value::Null => e.null()?.ok(),
        Value::Bool(value) => e.bool(*value)?.ok(),
        Value::Number(number) => {
            if let Some(integer) = number.as_u64() {
                e.u64(integer)?.ok()
            } else if let Some(integer) = number.as_i64() {
                e.i64(integer)?.ok()
            } else {
                // serde_json holds no NaN and no infinity, so every other number is a finite float.
                e.f64(number.as_f64().unwrap_or_default())?.ok()
            }
        }
        Value::String(text) => e.str(text)?.ok(),
        Value::Array(items) => {
            e.array(items.len() as u64)?;
            items.iter().try_for_each(|item| write(item, e))
        }
        Value::Object(map) => {
            e.map(map.len() as u64)?;
            for (key, item) in map {
                e.str(key)?;
                write(item, e)?;
            }
            Ok(())
        }
    }
}

fn read(d: &mut Decoder<'_>, depth: usize) -> Result<Value, DecodeError> {
    // A bound of its own, far above what the log takes in: damaged bytes must not exhaust the stack.
    if depth > limits::VALUE_NESTING * 2 {
        return Err(DecodeError::message("nested too deeply").at(d.position()));
    }
    Ok(match d.datatype()? {
        Type::Null => {
            d.null()?;
            Value::Null
        }
        Type::Bool => Value::Bool(d.bool()?),
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => Value::from(d.u64()?),
        Type::I8 | Type::I16 | Type::I32 | Type::I64 => Value::from(d.i64()?),
        Type::F64 => {
            let number = Number::from_f64(d.f64()?);
            number.map(Value::Number).ok_or_else(|| DecodeError::message("not a finite number"))?
        }
        Type::String => Value::String(d.str()?.to_owned()),
        Type::Array => {
            let count = d.array()?.ok_or_else(|| DecodeError::message("an array of no length"))?;
            let mut items = Vec::new();
            for _ in 0..count {
                items.push(read(d, depth + 1)?);
            }
            Value::Array(items)
        }
        Type::Map => {
            let count = d.map()?.ok_or_else(|| DecodeError::message("a map of no length"))?;
            let mut map = Map::new();
            for _ in 0..count {
                let key = d.str()?.to_owned();
                map.insert(key, read(d, depth + 1)?);
            }
            Value::Object(map)
        }
        _ => return Err(DecodeError::message("not a value").at(d.position())),
    })
}

/// Adds the references to blobs that a payload has, whatever its events mean. Bytes that are not CBOR end the search.
pub fn blob_references(payload: &[u8], found: &mut Vec<BlobRef>) {
    // Most payloads name none, and looking for the tag's bytes is far cheaper than reading all.
    let [high, low] = [0xB1, 0x0B];
    if !payload.windows(3).any(|part| part == [0xD9, high, low]) {
        return;
    }
    let mut d = Decoder::new(payload);
    while d.position() < payload.len() {
        let at = d.position();
        match d.datatype() {
            Ok(Type::Tag) => {
                if let Ok(blob) = d.decode::<BlobRef>() {
                    found.push(blob);
                    continue;
                }
                d.set_position(at);
                if d.tag().is_err() {
                    return;
                }
            }
            Ok(Type::Array) if d.array().is_ok() => {}
            Ok(Type::Map) if d.map().is_ok() => {}
            Ok(Type::Array | Type::Map) | Err(_) => return,
            Ok(_) if d.skip().is_ok() => {}
            Ok(_) => return,
        }
    }
}
