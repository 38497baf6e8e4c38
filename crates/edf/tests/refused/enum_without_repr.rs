use postroad_edf::Message;

#[derive(Message)]
enum Level {
    Low,
    High,
}

fn main() {}
