//! `#[derive(Message)]` for postroad: gives a Rust type its form in the Ergo
//! Data Format and makes it known to every registry of the program.
//!
//! The attributes are described at [`macro@Message`].

mod attributes;
mod body;
mod message;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input, parse_quote};

/// Makes a type a message.
///
/// ```ignore
/// #[derive(Message)]
/// #[message(name = "#main/Order")]
/// struct Order {
///     id: u64,
///     items: Vec<String>,
/// }
/// ```
///
/// | attribute of the type | meaning |
/// |---|---|
/// | `name = "#main/Order"` | the name on the wire; `#<package>/<Type>` without it, whatever the module: of two types with one name only the first, in the order of their paths, arrives from other nodes. Go programs call a type `#<package path>/<Type>` |
/// | `transparent` | a named type in Go's sense, such as `type Celsius float64` or `type Basket []Item`: a tuple struct with one field |
/// | `marshal` | the type has bytes of its own, by the trait `Marshal` |
/// | `unlinked` | registries do not know the type by themselves, as if it were generic; for a type whose name has several layouts |
/// | `crate = path` | where `postroad_edf` is found |
///
/// | attribute of a field | meaning |
/// |---|---|
/// | `skip` | the field does not travel and is `Default::default()` on arrival |
///
/// Structs, tuple structs and unit structs carry their fields in order. An
/// enum whose variants carry no data is a named integer of its `#[repr]`; with
/// `isize` it is Go's `int`. EDF has no enums with data, so these are refused:
/// make each variant a message. Generic types have the names of their
/// arguments in brackets, and have to be registered before they can be
/// received.
#[proc_macro_derive(Message, attributes(message))]
pub fn derive_message(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    message::expand(input, parse_quote!(::postroad_edf)).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// [`macro@Message`] for programs that know this library as `postroad::edf`.
#[proc_macro_derive(PostroadMessage, attributes(message))]
pub fn derive_postroad_message(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    message::expand(input, parse_quote!(::postroad::edf))
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
