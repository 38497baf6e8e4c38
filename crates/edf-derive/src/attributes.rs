//! What `#[message(...)]` says.

use syn::{Attribute, Error, Expr, ExprLit, Lit, Path, Result};

/// The attributes of a type.
pub(crate) struct TypeAttributes {
    pub(crate) name: Option<Expr>,
    pub(crate) krate: Path,
    pub(crate) transparent: bool,
    pub(crate) marshal: bool,
    pub(crate) unlinked: bool,
}

impl TypeAttributes {
    pub(crate) fn parse(attributes: &[Attribute], krate: Path) -> Result<Self> {
        let mut parsed = Self { name: None, krate, transparent: false, marshal: false, unlinked: false };
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("message")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("name") {
                    parsed.name = Some(checked_name(meta.value()?.parse()?)?);
                } else if meta.path.is_ident("crate") {
                    parsed.krate = meta.value()?.call(Path::parse_mod_style)?;
                } else if meta.path.is_ident("transparent") {
                    parsed.transparent = true;
                } else if meta.path.is_ident("marshal") {
                    parsed.marshal = true;
                } else if meta.path.is_ident("unlinked") {
                    parsed.unlinked = true;
                } else {
                    return Err(meta.error(
                        "expected `name = \"#...\"`, `transparent`, `marshal`, `unlinked` or `crate = path`",
                    ));
                }
                Ok(())
            })?;
            if parsed.transparent && parsed.marshal {
                return Err(Error::new_spanned(attribute, "`transparent` and `marshal` exclude each other"));
            }
        }
        Ok(parsed)
    }
}

/// A name that is no literal is checked when it is evaluated.
fn checked_name(name: Expr) -> Result<Expr> {
    let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &name else { return Ok(name) };
    let text = text.value();
    if !text.starts_with('#') || text.len() == 1 {
        return Err(Error::new_spanned(name, "a name on the wire begins with `#`, as in \"#main/Order\""));
    }
    if text.len() > 4095 {
        return Err(Error::new_spanned(name, "a name on the wire has at most 4095 bytes"));
    }
    Ok(name)
}

/// Whether a field stays at home.
pub(crate) fn is_skipped(attributes: &[Attribute]) -> Result<bool> {
    let mut skipped = false;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("message")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("skip") {
                skipped = true;
                Ok(())
            } else {
                Err(meta.error("expected `skip`"))
            }
        })?;
    }
    Ok(skipped)
}
