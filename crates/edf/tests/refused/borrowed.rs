use postroad_edf::Message;

#[derive(Message)]
struct Greeting<'a> {
    text: &'a str,
}

fn main() {}
