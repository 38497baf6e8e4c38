//! The implementations of the traits.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{DeriveInput, Error, GenericParam, Path, Result, TypeParam, WherePredicate, parse_quote};

use crate::attributes::TypeAttributes;
use crate::body::Body;

/// Writes everything that `#[derive(Message)]` stands for.
pub(crate) fn expand(input: DeriveInput, krate: Path) -> Result<TokenStream> {
    let attributes = TypeAttributes::parse(&input.attrs, krate)?;
    let body = Body::of(&input, &attributes)?;
    let parameters = type_parameters(&input)?;
    let krate = &attributes.krate;
    let ident = &input.ident;

    let base = match &attributes.name {
        Some(name) => name.to_token_stream(),
        None => {
            let plain = ident.to_string();
            let plain = plain.trim_start_matches("r#");
            quote!(::core::concat!("#", ::core::env!("CARGO_PKG_NAME"), "/", #plain))
        }
    };
    let type_name = if parameters.is_empty() {
        quote! {
            static NAME: #krate::derived::LazyTypeName = #krate::derived::LazyTypeName::new(#base);
            NAME.get()
        }
    } else {
        let arguments = parameters.iter().map(|parameter| &parameter.ident);
        quote!(#krate::derived::instance_name::<Self>(#base, &[#(<#arguments as #krate::Edf>::type_of),*]))
    };
    let registration = (parameters.is_empty() && !attributes.unlinked).then(
        || quote!(#krate::derived::inventory::submit! { #krate::derived::Registration::of::<#ident>() }),
    );

    let mut generics = input.generics.clone();
    let clause = generics.make_where_clause();
    for parameter in &parameters {
        let parameter = &parameter.ident;
        clause.predicates.push(parse_quote!(#parameter: #krate::Message));
    }
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();

    let Body { min_size, schema, encode, decode, parts, nil_of } = body;
    let nilable = nil_of.map(|ty| {
        let mut generics = generics.clone();
        // For a type without nil the bound is false and the implementation idle.
        // The idle lifetime keeps the compiler from refusing it for that.
        let bound: WherePredicate = parse_quote!(for<'idle> #ty: #krate::Nilable);
        generics.make_where_clause().predicates.push(bound);
        let where_clause = &generics.where_clause;
        quote! {
            impl #impl_generics #krate::Nilable for #ident #type_generics #where_clause {
                const NIL: &'static [u8] = #krate::derived::NIL;
            }
        }
    });
    Ok(quote! {
        #[automatically_derived]
        #[allow(unused_variables)]
        const _: () = {
            impl #impl_generics #krate::Registered for #ident #type_generics #where_clause {
                fn type_name() -> #krate::TypeName {
                    #type_name
                }

                fn schema() -> #krate::Schema {
                    #schema
                }
            }

            impl #impl_generics #krate::Edf for #ident #type_generics #where_clause {
                const MIN_SIZE: usize = #min_size;

                fn type_of() -> #krate::Type {
                    #krate::Type::Registered(<Self as #krate::Registered>::type_name())
                }

                #[inline]
                fn write_fold(out: &mut #krate::Encoder<'_>) -> ::core::result::Result<(), #krate::EncodeError> {
                    out.registered(<Self as #krate::Registered>::type_name())
                }

                #[inline]
                fn match_fold(input: &mut #krate::Decoder<'_>) -> ::core::result::Result<bool, #krate::DecodeError> {
                    input.matches_registered(<Self as #krate::Registered>::type_name())
                }

                #[inline]
                fn encode(&self, out: &mut #krate::Encoder<'_>) -> ::core::result::Result<(), #krate::EncodeError> {
                    #encode
                }

                #[inline]
                fn decode(input: &mut #krate::Decoder<'_>) -> ::core::result::Result<Self, #krate::DecodeError> {
                    #decode
                }

                fn register_parts(
                    registrar: &mut #krate::derived::Registrar,
                ) -> ::core::result::Result<(), #krate::RegisterError> {
                    registrar.registered::<Self>(|registrar| {
                        #(<#parts as #krate::Edf>::register_parts(registrar)?;)*
                        ::core::result::Result::Ok(())
                    })
                }
            }

            #nilable

            #registration
        };
    })
}

/// The type parameters; whatever else a type may be generic over is refused.
fn type_parameters(input: &DeriveInput) -> Result<Vec<&TypeParam>> {
    input
        .generics
        .params
        .iter()
        .map(|parameter| match parameter {
            GenericParam::Type(parameter) => Ok(parameter),
            GenericParam::Lifetime(lifetime) => Err(Error::new_spanned(
                lifetime,
                "a message outlives its sender, so it cannot borrow: own the data (`String`, `Vec`, `Bytes`)",
            )),
            GenericParam::Const(constant) => {
                Err(Error::new_spanned(constant, "Go has no types over constants: use a type per constant"))
            }
        })
        .collect()
}
