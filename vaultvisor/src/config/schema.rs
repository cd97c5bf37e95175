//! The JSON Schema of the configuration: what `vaultvisor schema` prints.
//!
//! It is kept by hand, because it says in types and patterns what the parser says in code, and each can say
//! things that the other cannot. A test holds both against the same documents and the same list of keys.

/// The schema, as JSON.
pub const SCHEMA: &str = include_str!("schema.json");

#[cfg(test)]
mod tests;
