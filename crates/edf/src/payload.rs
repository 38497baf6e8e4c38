//! A message of any type, without its type: what travels through mailboxes.
//!
//! This is the one module of the crate with `unsafe` code. A payload is a
//! table of functions and three words: values that fit into the words live
//! there, others in a box. So a small message costs no allocation.
#![allow(unsafe_code)]

use std::any::{TypeId, type_name};
use std::fmt;
use std::mem::{ManuallyDrop, MaybeUninit};

use crate::{EncodeError, Encoder, Message, Opaque, Value};

/// A message of any type. Small values (three words) are kept in place, larger
/// ones in a box. As a field or an element it is EDF's `any`.
pub struct Payload {
    vtable: &'static VTable,
    words: Words,
}

type Words = MaybeUninit<[u64; 3]>;

struct VTable {
    type_id: fn() -> TypeId,
    type_name: fn() -> &'static str,
    is_nil: unsafe fn(&Words) -> bool,
    encode: unsafe fn(&Words, &mut Encoder<'_>) -> Result<(), EncodeError>,
    drop: unsafe fn(&mut Words),
}

/// Whether a `T` lives in the words themselves.
const fn fits<T>() -> bool {
    size_of::<T>() <= size_of::<Words>() && align_of::<T>() <= align_of::<Words>()
}

struct Of<T>(std::marker::PhantomData<T>);

impl<T: Message> Of<T> {
    const VTABLE: VTable = VTable {
        type_id: TypeId::of::<T>,
        type_name: type_name::<T>,
        is_nil: |words| {
            // SAFETY: this table is only ever paired with words that `Payload::new::<T>` wrote.
            unsafe { &*Self::at(words) }.is_nil()
        },
        encode: |words, out| {
            // SAFETY: as above.
            unsafe { &*Self::at(words) }.encode_top(out)
        },
        drop: |words| {
            // SAFETY: as above, and `Payload` drops or moves its value exactly once.
            unsafe {
                if fits::<T>() {
                    words.as_mut_ptr().cast::<T>().drop_in_place();
                } else {
                    drop(words.as_mut_ptr().cast::<Box<T>>().read());
                }
            }
        },
    };

    /// Where the value lies that `Payload::new::<T>` put into `words`.
    ///
    /// # Safety
    /// `words` must have been written by `Payload::new::<T>` and not been moved out.
    unsafe fn at(words: &Words) -> *const T {
        if fits::<T>() {
            words.as_ptr().cast::<T>()
        } else {
            // SAFETY: a value that does not fit is kept as a box.
            std::ptr::from_ref::<T>(unsafe { &**words.as_ptr().cast::<Box<T>>() })
        }
    }
}

impl Payload {
    /// Takes `value` in. A `Payload` stays what it is.
    pub fn new<T: Message>(value: T) -> Self {
        let value = ManuallyDrop::new(value);
        if TypeId::of::<T>() == TypeId::of::<Self>() {
            // SAFETY: `T` is `Payload`, and `value` is not dropped here.
            return unsafe { std::ptr::from_ref(&value).cast::<Self>().read() };
        }
        let mut words = Words::uninit();
        // SAFETY: the words are large and aligned enough for a `T` that fits and for
        // any box, and `value` is moved out once because `ManuallyDrop` never drops it.
        unsafe {
            let value = ManuallyDrop::into_inner(value);
            if fits::<T>() {
                words.as_mut_ptr().cast::<T>().write(value);
            } else {
                words.as_mut_ptr().cast::<Box<T>>().write(Box::new(value));
            }
        }
        Self { vtable: &Of::<T>::VTABLE, words }
    }

    /// Whether the value is a `T`.
    pub fn is<T: Message>(&self) -> bool {
        (self.vtable.type_id)() == TypeId::of::<T>()
    }

    /// The name of the value's Rust type, for logs.
    pub fn type_name(&self) -> &'static str {
        (self.vtable.type_name)()
    }

    /// The name of the value's type, for logs: where no Rust type of this program
    /// stands for it, that which the peer gives it, cut after 128 characters.
    pub fn label(&self) -> String {
        if let Some(opaque) = self.downcast_ref::<Opaque>() {
            return opaque.name.chars().take(128).flat_map(char::escape_debug).collect();
        }
        self.downcast_ref::<Value>()
            .map_or_else(|| self.type_name().to_owned(), |value| value.type_of().to_string())
    }

    /// Looks at the value, if it is a `T`.
    pub fn downcast_ref<T: Message>(&self) -> Option<&T> {
        // SAFETY: the type was compared, so `Payload::new::<T>` wrote the words.
        self.is::<T>().then(|| unsafe { &*Of::<T>::at(&self.words) })
    }

    /// Takes the value out, if it is a `T`; otherwise the payload comes back whole.
    pub fn downcast<T: Message>(self) -> Result<T, Self> {
        if TypeId::of::<T>() == TypeId::of::<Self>() {
            let this = ManuallyDrop::new(self);
            // SAFETY: `T` is `Payload`, and `this` is not dropped.
            return Ok(unsafe { std::ptr::from_ref(&this).cast::<T>().read() });
        }
        if !self.is::<T>() {
            return Err(self);
        }
        let this = ManuallyDrop::new(self);
        // SAFETY: the type was compared; the value is read once and `this` is not dropped.
        Ok(unsafe {
            if fits::<T>() {
                this.words.as_ptr().cast::<T>().read()
            } else {
                *this.words.as_ptr().cast::<Box<T>>().read()
            }
        })
    }

    /// Whether the value is nil, which cannot be sent by itself: see
    /// [`Edf::is_nil`](crate::Edf::is_nil).
    pub fn is_nil(&self) -> bool {
        // SAFETY: the table belongs to the words.
        unsafe { (self.vtable.is_nil)(&self.words) }
    }

    /// Writes the value with its type in front (`docs/wire/EDF.md` section 3).
    pub fn encode_top(&self, out: &mut Encoder<'_>) -> Result<(), EncodeError> {
        // SAFETY: the table belongs to the words.
        unsafe { (self.vtable.encode)(&self.words, out) }
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        // SAFETY: the table belongs to the words, and the value was not moved out:
        // whoever moves it out wraps the payload in `ManuallyDrop` first.
        unsafe { (self.vtable.drop)(&mut self.words) }
    }
}

// SAFETY: every `Message` is `Send`, and so is a box of it.
unsafe impl Send for Payload {}

// SAFETY: every `Message` is `Sync`, and so is a box of it.
unsafe impl Sync for Payload {}

/// The Rust type of the value; of one whose type nobody knows here, the name that
/// the peer gave it.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({})", self.label())
    }
}
