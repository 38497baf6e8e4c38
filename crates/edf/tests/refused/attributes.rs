use postroad_edf::Message;

#[derive(Message)]
#[message(name = "main/Order")]
struct WithoutHash;

#[derive(Message)]
#[message(nmae = "#main/Order")]
struct Misspelt;

#[derive(Message)]
#[message(transparent)]
struct TwoFields(u8, u8);

#[derive(Message)]
struct Skipped {
    #[message(skipp)]
    field: u8,
}

fn main() {}
