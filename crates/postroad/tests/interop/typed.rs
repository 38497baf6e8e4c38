//! Rust actors that handle the types Go sends, field by field.

use postroad::edf::ErrorValue;
use postroad::{
    Actor, Alias, Answer, Atom, Context, Event, ExitReason, Handle, Message, Payload, Pid, ProcessId, Reply,
};
use serde_json::json;
use tokio::sync::mpsc;

use crate::peer::by_pid;
use crate::road::{Dialer, at, end, pair};
use crate::types::{Bin, Blob, Deep, Ids, MyMap, Outer, Point, Shape, WithMarshaler};
use crate::within;

/// Hands what it handles to the test, and turns points into outers.
struct Clerk(mpsc::UnboundedSender<Payload>);

impl Actor for Clerk {
    type Args = mpsc::UnboundedSender<Payload>;
    type Messages = (Shape, Ids, Deep, WithMarshaler);
    type Requests = (Point,);

    async fn init(desk: Self::Args, _: &mut Context) -> Result<Self, ExitReason> {
        Ok(Self(desk))
    }

    async fn handle_other(&mut self, message: Payload, _: &mut Context) -> Result<(), ExitReason> {
        panic!("{message:?} has no handler of its own")
    }
}

macro_rules! hand_over {
    ($($ty:ty)*) => {$(
        impl Handle<$ty> for Clerk {
            async fn handle(&mut self, message: $ty, _: &mut Context) -> Result<(), ExitReason> {
                let _ = self.0.send(Payload::new(message));
                Ok(())
            }
        }
    )*};
}
hand_over!(Shape Ids Deep WithMarshaler);

impl Answer<Point> for Clerk {
    type Reply = Outer;

    async fn answer(&mut self, point: Point, _: &mut Context) -> Result<Reply<Outer>, ExitReason> {
        Ok(Reply::Now(Outer { point, z: 3 }))
    }
}

fn atom(text: &str) -> Atom {
    Atom::new(text).unwrap()
}

#[tokio::test]
async fn what_go_sends_arrives_in_the_handlers_of_its_type() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        let (desk, mut handled) = mpsc::unbounded_channel();
        let clerk = node.spawn::<Clerk>(desk).await.unwrap();
        for sample in ["struct_full", "struct_zero", "struct_ids", "struct_deep", "struct_marshalers"] {
            go.send(by_pid(clerk), json!({"sample": sample})).await;
        }
        async fn next<T: Message>(handled: &mut mpsc::UnboundedReceiver<Payload>) -> T {
            within("a message", handled.recv()).await.unwrap().downcast().unwrap()
        }

        let full: Shape = next(&mut handled).await;
        assert_eq!((full.name.as_str(), full.origin), ("s", Point { x: 1, y: 2 }));
        assert_eq!(full.points.unwrap(), [Point { x: 3, y: 4 }]);
        assert_eq!(full.tags.unwrap(), [("t".to_owned(), 5)].into());
        assert_eq!(full.extra.downcast::<Point>().unwrap(), Point { x: 6, y: 7 });
        assert_eq!(full.err, Some(ErrorValue::new("timed out")));

        let zero: Shape = next(&mut handled).await;
        assert_eq!((zero.name.as_str(), zero.origin), ("", Point { x: 0, y: 0 }));
        assert!(zero.points.is_none() && zero.tags.is_none() && zero.err.is_none() && zero.extra.is_nil());

        let ids: Ids = next(&mut handled).await;
        let (there, creation) = (atom("node@localhost"), 1_700_000_000);
        let expected = Ids {
            p: Pid { node: there, id: 1001, creation },
            n: ProcessId { name: atom("worker"), node: there },
            r: postroad::Ref { node: there, creation, id: [262_143, 24_821, 1_700_000_005] },
            a: Alias { node: there, creation, id: [7, 24_821, 0] },
            e: Event { name: atom("tick"), node: there },
            at: atom("worker"),
        };
        assert_eq!(ids, expected);

        let deep: Deep = next(&mut handled).await;
        let [Some(first), None] = &deep.l.unwrap()[..] else { panic!("one map and nil") };
        assert_eq!(first["k"], Some(vec![Point { x: 1, y: 0 }]));
        let map = deep.m.unwrap().remove(&atom("m")).unwrap().downcast::<MyMap>().unwrap();
        assert_eq!(map.0.unwrap()["z"], Point { x: 0, y: 0 });
        assert_eq!(deep.a, [None, Some(vec!["q".to_owned()])]);

        let own: WithMarshaler = next(&mut handled).await;
        assert_eq!(own, WithMarshaler { id: 3, b: Blob(b"blob".into()), n: Bin(vec![4, 3, 2, 1]) });

        let answer = go.call(by_pid(clerk), json!({"sample": "struct"})).await.unwrap();
        let point = json!({"fields": [["X", 1], ["Y", -2]]});
        assert_eq!(answer["type"], "#example.org/postroad/interop/types/Outer");
        assert_eq!(answer["value"], json!({"fields": [["Point", point], ["Z", 3]]}));
        end(node, go).await;
    }
}

#[tokio::test]
async fn what_rust_sends_arrives_as_gos_own_type() {
    for dialer in Dialer::BOTH {
        let (node, go) = pair(dialer).await;
        let point = Point { x: i32::MIN, y: i32::MAX };
        node.send(at("driver", go.atom()), Outer { point, z: -1 }).await.unwrap();
        let event = go.event("message").await;
        let point_json = json!({"fields": [["X", i32::MIN], ["Y", i32::MAX]]});
        let outer = json!({"fields": [["Point", point_json], ["Z", -1]]});
        let name = "#example.org/postroad/interop/types/Outer";
        assert_eq!(event["value"], json!({"type": name, "value": outer}));
        let back: Point = node.call(go.pid("echo"), point).await.unwrap();
        assert_eq!(back, point);
        end(node, go).await;
    }
}
