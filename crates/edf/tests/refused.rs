//! What `#[derive(Message)]` refuses, and what it says then.

#[test]
fn refused_types_are_explained() {
    trybuild::TestCases::new().compile_fail("tests/refused/*.rs");
}
