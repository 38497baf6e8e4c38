//! What a value of the type consists of: its schema, and the code that writes
//! and reads it.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::{
    Attribute, Data, DataEnum, DataStruct, DeriveInput, Error, Fields, Index, Member, Path, Result, Type,
};

use crate::attributes::{TypeAttributes, is_skipped};

/// The parts of the implementation that depend on the kind of type.
pub(crate) struct Body {
    pub(crate) min_size: TokenStream,
    pub(crate) schema: TokenStream,
    pub(crate) encode: TokenStream,
    pub(crate) decode: TokenStream,
    /// The types inside, whose registered types come along.
    pub(crate) parts: Vec<Type>,
    /// The type whose nil is also this type's nil.
    pub(crate) nil_of: Option<Type>,
}

impl Body {
    pub(crate) fn of(input: &DeriveInput, attributes: &TypeAttributes) -> Result<Self> {
        let krate = &attributes.krate;
        if attributes.marshal {
            return Ok(Self::marshal(krate));
        }
        match &input.data {
            Data::Struct(data) if attributes.transparent => Self::transparent(input, data, krate),
            Data::Struct(data) => Self::fields(data, krate),
            Data::Enum(_) if attributes.transparent => {
                Err(Error::new_spanned(&input.ident, "`transparent` is for tuple structs with one field"))
            }
            Data::Enum(data) => Self::variants(input, data, krate),
            Data::Union(data) => Err(Error::new_spanned(
                data.union_token,
                "EDF has no unions: use a struct, or `#[message(marshal)]`",
            )),
        }
    }

    fn marshal(krate: &Path) -> Self {
        Self {
            min_size: quote!(4),
            schema: quote!(#krate::Schema::Marshal),
            encode: quote!(#krate::derived::encode(self, out)),
            decode: quote!(#krate::derived::decode(input)),
            parts: Vec::new(),
            nil_of: None,
        }
    }

    fn fields(data: &DataStruct, krate: &Path) -> Result<Self> {
        let mut sent = Vec::new();
        let mut values = Vec::new();
        for (place, field) in data.fields.iter().enumerate() {
            let member = field.ident.clone().map_or(Member::Unnamed(Index::from(place)), Member::Named);
            if is_skipped(&field.attrs)? {
                values.push(quote!(#member: ::core::default::Default::default()));
                continue;
            }
            let ty = &field.ty;
            values.push(quote!(#member: <#ty as #krate::Edf>::decode(input)?));
            sent.push((member, ty.clone()));
        }
        let (members, parts): (Vec<_>, Vec<_>) = sent.into_iter().unzip();
        let names = members.iter().map(|member| match member {
            Member::Named(ident) => ident.to_string().trim_start_matches("r#").to_owned(),
            Member::Unnamed(index) => index.index.to_string(),
        });
        Ok(Self {
            min_size: quote!(0 #(+ <#parts as #krate::Edf>::MIN_SIZE)*),
            schema: quote! {
                #krate::Schema::Struct(::std::vec![
                    #(#krate::Field::new(#names, <#parts as #krate::Edf>::type_of())),*
                ])
            },
            encode: quote! {
                #(<#parts as #krate::Edf>::encode(&self.#members, out)?;)*
                ::core::result::Result::Ok(())
            },
            decode: quote!(::core::result::Result::Ok(Self { #(#values),* })),
            parts,
            nil_of: None,
        })
    }

    fn transparent(input: &DeriveInput, data: &DataStruct, krate: &Path) -> Result<Self> {
        let Fields::Unnamed(fields) = &data.fields else {
            return Err(Error::new_spanned(
                &input.ident,
                "`transparent` is for tuple structs with one field",
            ));
        };
        let [field] = fields.unnamed.iter().collect::<Vec<_>>()[..] else {
            return Err(Error::new_spanned(fields, "`transparent` is for tuple structs with one field"));
        };
        let ty = &field.ty;
        Ok(Self {
            min_size: quote!(<#ty as #krate::Edf>::MIN_SIZE),
            schema: quote!(<#ty as #krate::Edf>::named_schema()),
            encode: quote!(<#ty as #krate::Edf>::encode_named(&self.0, out)),
            decode: quote!(<#ty as #krate::Edf>::decode_named(input).map(Self)),
            parts: vec![ty.clone()],
            nil_of: Some(ty.clone()),
        })
    }

    fn variants(input: &DeriveInput, data: &DataEnum, krate: &Path) -> Result<Self> {
        if let Some(variant) = data.variants.iter().find(|variant| !matches!(variant.fields, Fields::Unit)) {
            return Err(Error::new_spanned(
                variant,
                "EDF has no enums with data: derive `Message` for a struct per variant, \
                 or carry a struct with a kind and an `Option<Value>`",
            ));
        }
        let Some(repr) = integer_repr(&input.attrs)? else {
            return Err(Error::new_spanned(
                &input.ident,
                "an enum is a named integer on the wire: say which one with `#[repr(i32)]`, \
                 or `#[repr(isize)]` for Go's `int`",
            ));
        };
        if data.variants.is_empty() {
            return Err(Error::new_spanned(&input.ident, "an enum without variants has no values to send"));
        }
        let variants: Vec<_> = data.variants.iter().map(|variant| &variant.ident).collect();
        let constants: Vec<_> = variants.iter().map(|variant| format_ident!("VALUE_OF_{variant}")).collect();
        let (ident, ty) = (&input.ident, Type::Verbatim(quote!(#repr)));
        Ok(Self {
            min_size: quote!(<#repr as #krate::Edf>::MIN_SIZE),
            schema: quote!(#krate::Schema::Scalar(<#repr as #krate::Edf>::type_of())),
            encode: quote! {
                let value = match self {
                    #(Self::#variants => Self::#variants as #repr,)*
                };
                #krate::Edf::encode(&value, out)
            },
            decode: quote! {
                #(#[allow(non_upper_case_globals)] const #constants: #repr = #ident::#variants as #repr;)*
                match <#repr as #krate::Edf>::decode(input)? {
                    #(#constants => ::core::result::Result::Ok(Self::#variants),)*
                    value => ::core::result::Result::Err(#krate::DecodeError::UnknownVariant {
                        name: <Self as #krate::Registered>::type_name(),
                        value: value as i64,
                    }),
                }
            },
            parts: vec![ty],
            nil_of: None,
        })
    }
}

/// The integer type that `#[repr]` names.
fn integer_repr(attributes: &[Attribute]) -> Result<Option<proc_macro2::Ident>> {
    const INTEGERS: [&str; 10] = ["i8", "i16", "i32", "i64", "isize", "u8", "u16", "u32", "u64", "usize"];
    let mut repr = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("repr")) {
        attribute.parse_nested_meta(|meta| {
            if let Some(integer) = INTEGERS.iter().find(|integer| meta.path.is_ident(integer)) {
                repr = Some(proc_macro2::Ident::new(integer, Span::call_site()));
            } else if meta.input.peek(syn::token::Paren) {
                meta.parse_nested_meta(|_| Ok(()))?;
            }
            Ok(())
        })?;
    }
    Ok(repr)
}
