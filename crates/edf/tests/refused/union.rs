use postroad_edf::Message;

#[derive(Message)]
union Bits {
    float: f32,
    int: u32,
}

fn main() {}
