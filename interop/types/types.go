// Package types holds the registered EDF types of the interop programs and the
// named sample values, one or more for every EDF type.
//
// On the wire a type is called "#example.org/postroad/interop/types/" and its
// Go name. The shapes are those of docs/wire/vectors/edf_test_types.jsonl.
package types

import (
	"fmt"
	"io"

	"ergo.services/ergo/gen"
	"ergo.services/ergo/net/edf"
)

type (
	Empty struct{}

	Point struct{ X, Y int32 }

	// Outer embeds a struct, which is an ordinary field on the wire.
	Outer struct {
		Point
		Z int32
	}

	Shape struct {
		Name   string
		Origin Point
		Points []Point
		Tags   map[string]int8
		Extra  any
		Err    error
	}

	// Ids has one field for each identity.
	Ids struct {
		P  gen.PID
		N  gen.ProcessID
		R  gen.Ref
		A  gen.Alias
		E  gen.Event
		At gen.Atom
	}

	Deep struct {
		L []map[string][]Point
		M map[gen.Atom]any
		A [2][]string
	}

	WithMarshaler struct {
		Id int8
		B  Blob
		N  Bin
	}

	MyBool bool
	MyI8   int8
	MyU16  uint16
	MyU64  uint64
	MyInt  int
	MyF32  float32
	MyStr  string

	MySlice    []Point
	MyStrSlice []string
	MyAnySlice []any
	MyArray    [3]uint16
	MyMap      map[string]Point
)

// Blob encodes itself (EDF's own marshaler).
type Blob struct{ bytes []byte }

func NewBlob(bytes []byte) Blob { return Blob{bytes} }

func (b Blob) MarshalEDF(w io.Writer) error {
	_, err := w.Write(b.bytes)
	return err
}

func (b *Blob) UnmarshalEDF(bytes []byte) error {
	b.bytes = append([]byte{}, bytes...)
	return nil
}

// Bin encodes itself by Go's standard binary marshaler.
type Bin struct{ bytes []byte }

func NewBin(bytes []byte) Bin { return Bin{bytes} }

func (b Bin) MarshalBinary() ([]byte, error) { return b.bytes, nil }

func (b *Bin) UnmarshalBinary(bytes []byte) error {
	b.bytes = append([]byte{}, bytes...)
	return nil
}

// Registered lists a zero value of every type of this package, each after the
// types it is made of, which is the order in which Ergo accepts them.
func Registered() []any {
	return []any{
		Empty{}, Point{}, Blob{}, Bin{},
		Outer{}, Shape{}, Ids{}, Deep{}, WithMarshaler{},
		MyBool(false), MyI8(0), MyU16(0), MyU64(0), MyInt(0), MyF32(0), MyStr(""),
		MySlice{}, MyStrSlice{}, MyAnySlice{}, MyArray{}, MyMap{},
	}
}

// Register makes the types known to Ergo. It has to be called before a node
// starts, so that the types are in the caches of its handshakes.
func Register() error {
	for _, value := range Registered() {
		if err := edf.RegisterTypeOf(value); err != nil && err != gen.ErrTaken {
			return fmt.Errorf("register %T: %w", value, err)
		}
	}
	return nil
}
