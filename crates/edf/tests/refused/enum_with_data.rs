use postroad_edf::Message;

#[derive(Message)]
enum Command {
    Stop,
    Move { x: i32, y: i32 },
}

fn main() {}
