use postroad_edf::Message;

struct Plain;

#[derive(Message)]
struct Order {
    plain: Plain,
}

fn main() {}
