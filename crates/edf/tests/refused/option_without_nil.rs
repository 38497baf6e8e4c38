use postroad_edf::Message;

#[derive(Message)]
struct Order {
    discount: Option<u32>,
}

fn main() {}
