//! Calls of any pallet, decoded by the types that a chain's metadata describes, from bytes that nobody vouches
//! for.
//!
//! A walk of our own and not `scale-value`: that one reserves memory for as many elements as the bytes claim to
//! have, follows as many levels as they nest, and so can be made to fail by a few bytes. Here depth and number
//! of values are bounded, nothing is reserved for what is not there, and byte strings stay where they are. The metadata
//! need not be honest either: one node serves it. Pure.

mod error;

use codec::{Compact, Decode};
use scale_info::{
    Field as FieldType, PortableRegistry, Type, TypeDef, TypeDefPrimitive, TypeDefVariant, Variant,
    form::PortableForm,
};
use subxt::metadata::Metadata;

pub use self::error::DecodeError;

/// The longest call that is decoded, in bytes: more than any chain takes in one block.
pub const MAX_CALL_BYTES: usize = 8 * 1024 * 1024;

/// How deep values may nest. A call inside a call is some five levels, and governance nests a handful of calls.
/// Small enough for the stack of any thread.
const MAX_DEPTH: usize = 256;

/// How many values a call, or all events of a block together, may have. A batch of a hundred calls has about a thousand; byte strings count once.
const MAX_VALUES: usize = 100_000;

/// How many cases of a type are looked at: as many as one byte can tell apart.
const MAX_CASES: usize = 256;

/// How many wrappers a number may have in its type; there are one or two.
const MAX_NEWTYPES: usize = 16;

/// A decoded call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call<'b> {
    /// The pallet's name in the runtime.
    pub pallet: &'b str,
    /// The call's name.
    pub name: &'b str,
    /// Its arguments.
    pub fields: Vec<Field<'b>>,
}

/// A value with the name that it has in its composite, if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field<'b> {
    /// The name.
    pub name: Option<&'b str>,
    /// The value.
    pub value: Decoded<'b>,
}

/// A decoded value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded<'b> {
    /// An unsigned number of up to 128 bits.
    Unsigned(u128),
    /// A signed number of up to 128 bits.
    Signed(i128),
    /// A truth value.
    Bool(bool),
    /// A character.
    Char(char),
    /// A text.
    Text(&'b str),
    /// Bytes, numbers of 256 bits, and bits.
    Bytes(&'b [u8]),
    /// Fields or a tuple.
    Record(Vec<Field<'b>>),
    /// Any number of values of one type.
    List(Vec<Decoded<'b>>),
    /// One of the cases of an enumeration.
    Variant {
        /// The case.
        name: &'b str,
        /// What it has.
        fields: Vec<Field<'b>>,
    },
    /// A call.
    Call(Box<Call<'b>>),
    /// A call that is explained beside this value, under this number, from 1. Only explanations have it.
    CallNumber(usize),
    /// Bytes that should be a call.
    EncodedCall {
        /// The bytes.
        bytes: &'b [u8],
        /// The call, or why they are none.
        call: Result<Box<Call<'b>>, DecodeError>,
    },
}

/// Decodes bytes that are one call, no more and no less.
pub fn decode_call<'b>(metadata: &'b Metadata, bytes: &'b [u8]) -> Result<Call<'b>, DecodeError> {
    if bytes.len() > MAX_CALL_BYTES {
        return Err(DecodeError::TooLong { length: bytes.len() });
    }
    let calls = Calls { metadata, call_type: metadata.outer_enums().call_enum_ty() };
    Decoder::of_calls(calls, bytes, &mut 0).whole_call(calls, 0)
}

/// How many bytes a value of the type `id` takes at the beginning of `bytes`, within the same bounds as a call has;
/// `values` counts on.
pub(in crate::chain) fn length_of(
    types: &PortableRegistry,
    id: u32,
    bytes: &[u8],
    values: &mut usize,
) -> Result<usize, DecodeError> {
    let mut decoder = Decoder { calls: None, types, length: bytes.len(), rest: bytes, values };
    decoder.value(id, 0)?;
    Ok(decoder.at())
}

/// The case of a variant that a byte names.
pub(in crate::chain) fn case_by_index(
    cases: &TypeDefVariant<PortableForm>,
    index: u8,
) -> Option<&Variant<PortableForm>> {
    cases.variants.iter().take(MAX_CASES).find(|case| case.index == index)
}

/// What calls are decoded by.
#[derive(Clone, Copy)]
struct Calls<'b> {
    metadata: &'b Metadata,
    call_type: u32,
}

struct Decoder<'b, 'v> {
    /// Without, a call is a value like any other.
    calls: Option<Calls<'b>>,
    types: &'b PortableRegistry,
    length: usize,
    rest: &'b [u8],
    /// How many values there were, calls in byte strings included.
    values: &'v mut usize,
}

impl<'b, 'v> Decoder<'b, 'v> {
    fn of_calls(calls: Calls<'b>, bytes: &'b [u8], values: &'v mut usize) -> Self {
        let types = calls.metadata.types();
        Self { calls: Some(calls), types, length: bytes.len(), rest: bytes, values }
    }

    fn at(&self) -> usize {
        self.length - self.rest.len()
    }

    fn whole_call(&mut self, calls: Calls<'b>, depth: usize) -> Result<Call<'b>, DecodeError> {
        let call = self.call(calls, depth)?;
        match self.rest.len() {
            0 => Ok(call),
            left => Err(DecodeError::Trailing { at: self.at(), left }),
        }
    }

    fn call(&mut self, calls: Calls<'b>, depth: usize) -> Result<Call<'b>, DecodeError> {
        let at = self.at();
        let index = self.byte()?;
        let pallet = calls.metadata.pallet_by_call_index(index).ok_or(DecodeError::NoPallet { at, index })?;
        let at = self.at();
        let index = self.byte()?;
        let variant = pallet.call_variant_by_index(index).ok_or_else(|| DecodeError::NoCall {
            at,
            pallet: pallet.name().to_owned(),
            index,
        })?;
        let mut fields = self.fields(&variant.fields, depth)?;
        if (pallet.name(), variant.name.as_str()) == ("Preimage", "note_preimage") {
            self.expect_calls(calls, &mut fields, depth);
        }
        Ok(Call { pallet: pallet.name(), name: &variant.name, fields })
    }

    /// Decodes the byte strings among the fields as the calls that they should be.
    fn expect_calls(&mut self, calls: Calls<'b>, fields: &mut [Field<'b>], depth: usize) {
        for field in fields {
            if let Decoded::Bytes(bytes) = field.value {
                let mut inner = Decoder::of_calls(calls, bytes, &mut *self.values);
                let call = inner.whole_call(calls, depth + 1).map(Box::new);
                field.value = Decoded::EncodedCall { bytes, call };
            }
        }
    }

    fn fields(
        &mut self,
        fields: &'b [FieldType<PortableForm>],
        depth: usize,
    ) -> Result<Vec<Field<'b>>, DecodeError> {
        let field = |field: &'b FieldType<PortableForm>| {
            Ok(Field { name: field.name.as_deref(), value: self.value(field.ty.id, depth + 1)? })
        };
        fields.iter().map(field).collect()
    }

    fn resolve(&self, id: u32) -> Result<&'b Type<PortableForm>, DecodeError> {
        self.types.resolve(id).ok_or(DecodeError::Metadata { id })
    }

    fn value(&mut self, id: u32, depth: usize) -> Result<Decoded<'b>, DecodeError> {
        *self.values += 1;
        if depth > MAX_DEPTH {
            return Err(DecodeError::TooDeep { at: self.at() });
        }
        if *self.values > MAX_VALUES {
            return Err(DecodeError::TooMany { at: self.at() });
        }
        if let Some(calls) = self.calls.filter(|calls| calls.call_type == id) {
            return Ok(Decoded::Call(Box::new(self.call(calls, depth)?)));
        }
        let described = self.resolve(id)?;
        match &described.type_def {
            TypeDef::Composite(composite) => match composite.fields.as_slice() {
                // A wrapper around one value says nothing that its value does not.
                [only] if only.name.is_none() => self.value(only.ty.id, depth + 1),
                fields => Ok(Decoded::Record(self.fields(fields, depth)?)),
            },
            TypeDef::Variant(cases) => {
                let at = self.at();
                let index = self.byte()?;
                let case =
                    case_by_index(cases, index).ok_or(DecodeError::Value { at, expected: "a known case" })?;
                let mut fields = self.fields(&case.fields, depth)?;
                // How referenda hold a short proposal, instead of a preimage.
                let inline = case.name == "Inline"
                    && described.path.segments.last().is_some_and(|name| name == "Bounded");
                if let Some(calls) = self.calls.filter(|_| inline) {
                    self.expect_calls(calls, &mut fields, depth);
                }
                Ok(Decoded::Variant { name: &case.name, fields })
            }
            TypeDef::Sequence(sequence) => {
                let count = self.count()?;
                self.list(sequence.type_param.id, count, depth)
            }
            TypeDef::Array(array) => self.list(array.type_param.id, array.len as usize, depth),
            TypeDef::Tuple(tuple) => {
                let mut field = |id: u32| Ok(Field { name: None, value: self.value(id, depth + 1)? });
                tuple.fields.iter().map(|ty| field(ty.id)).collect::<Result<_, _>>().map(Decoded::Record)
            }
            TypeDef::Primitive(primitive) => self.primitive(primitive),
            TypeDef::Compact(compact) => self.compact(compact.type_param.id),
            TypeDef::BitSequence(bits) => {
                let store = self.resolve(bits.bit_store_type.id)?;
                let store_bytes = match &store.type_def {
                    TypeDef::Primitive(TypeDefPrimitive::U8) => 1,
                    TypeDef::Primitive(TypeDefPrimitive::U16) => 2,
                    TypeDef::Primitive(TypeDefPrimitive::U32) => 4,
                    TypeDef::Primitive(TypeDefPrimitive::U64) => 8,
                    _ => return Err(DecodeError::Metadata { id: bits.bit_store_type.id }),
                };
                let count = self.count()?;
                Ok(Decoded::Bytes(self.bytes(count.div_ceil(store_bytes * 8) * store_bytes)?))
            }
        }
    }

    fn list(&mut self, item: u32, count: usize, depth: usize) -> Result<Decoded<'b>, DecodeError> {
        if matches!(self.resolve(item)?.type_def, TypeDef::Primitive(TypeDefPrimitive::U8)) {
            return Ok(Decoded::Bytes(self.bytes(count)?));
        }
        // Nothing is reserved for the count that the bytes claim; each item counts against the bounds.
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(self.value(item, depth + 1)?);
        }
        Ok(Decoded::List(items))
    }

    fn primitive(&mut self, primitive: &TypeDefPrimitive) -> Result<Decoded<'b>, DecodeError> {
        let at = self.at();
        Ok(match primitive {
            TypeDefPrimitive::Bool => match self.byte()? {
                0 => Decoded::Bool(false),
                1 => Decoded::Bool(true),
                _ => return Err(DecodeError::Value { at, expected: "true or false" }),
            },
            TypeDefPrimitive::Char => {
                let code = u32::from_le_bytes(self.array()?);
                Decoded::Char(char::from_u32(code).ok_or(DecodeError::Value { at, expected: "a character" })?)
            }
            TypeDefPrimitive::Str => {
                let count = self.count()?;
                let text = std::str::from_utf8(self.bytes(count)?);
                Decoded::Text(text.map_err(|_| DecodeError::Value { at, expected: "a text in UTF-8" })?)
            }
            TypeDefPrimitive::U8 => Decoded::Unsigned(self.byte()?.into()),
            TypeDefPrimitive::U16 => Decoded::Unsigned(u16::from_le_bytes(self.array()?).into()),
            TypeDefPrimitive::U32 => Decoded::Unsigned(u32::from_le_bytes(self.array()?).into()),
            TypeDefPrimitive::U64 => Decoded::Unsigned(u64::from_le_bytes(self.array()?).into()),
            TypeDefPrimitive::U128 => Decoded::Unsigned(u128::from_le_bytes(self.array()?)),
            TypeDefPrimitive::I8 => Decoded::Signed(i8::from_le_bytes(self.array()?).into()),
            TypeDefPrimitive::I16 => Decoded::Signed(i16::from_le_bytes(self.array()?).into()),
            TypeDefPrimitive::I32 => Decoded::Signed(i32::from_le_bytes(self.array()?).into()),
            TypeDefPrimitive::I64 => Decoded::Signed(i64::from_le_bytes(self.array()?).into()),
            TypeDefPrimitive::I128 => Decoded::Signed(i128::from_le_bytes(self.array()?)),
            TypeDefPrimitive::U256 | TypeDefPrimitive::I256 => Decoded::Bytes(self.bytes(32)?),
        })
    }

    /// A compact number of the type `id`, which may be wrapped.
    fn compact(&mut self, mut id: u32) -> Result<Decoded<'b>, DecodeError> {
        let at = self.at();
        for _ in 0..MAX_NEWTYPES {
            let max = match &self.resolve(id)?.type_def {
                TypeDef::Composite(composite) => match composite.fields.as_slice() {
                    [only] => {
                        id = only.ty.id;
                        continue;
                    }
                    [] => return Ok(Decoded::Record(Vec::new())),
                    _ => break,
                },
                TypeDef::Tuple(tuple) if tuple.fields.is_empty() => return Ok(Decoded::Record(Vec::new())),
                TypeDef::Primitive(TypeDefPrimitive::U8) => u8::MAX.into(),
                TypeDef::Primitive(TypeDefPrimitive::U16) => u16::MAX.into(),
                TypeDef::Primitive(TypeDefPrimitive::U32) => u32::MAX.into(),
                TypeDef::Primitive(TypeDefPrimitive::U64) => u64::MAX.into(),
                TypeDef::Primitive(TypeDefPrimitive::U128) => u128::MAX,
                _ => break,
            };
            let number = self.compact_number()?;
            if number > max {
                return Err(DecodeError::Value { at, expected: "a smaller number" });
            }
            return Ok(Decoded::Unsigned(number));
        }
        Err(DecodeError::Metadata { id })
    }

    fn compact_number(&mut self) -> Result<u128, DecodeError> {
        let at = self.at();
        let mut input = self.rest;
        // A first byte with the two low bits set says how many follow, at most 16 for 128 bits.
        let Compact(number) = Compact::<u128>::decode(&mut input).map_err(|_| match self.rest {
            [] => DecodeError::Ends { at },
            _ => DecodeError::Value { at, expected: "a compact number" },
        })?;
        self.rest = input;
        Ok(number)
    }

    fn count(&mut self) -> Result<usize, DecodeError> {
        let at = self.at();
        let count = self.compact_number()?;
        u32::try_from(count)
            .map(|count| count as usize)
            .map_err(|_| DecodeError::Value { at, expected: "a length" })
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        self.array().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    fn bytes(&mut self, count: usize) -> Result<&'b [u8], DecodeError> {
        let ended = DecodeError::Ends { at: self.length };
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(ended)?;
        self.rest = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests;
