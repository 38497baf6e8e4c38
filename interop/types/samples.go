package types

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"ergo.services/ergo/gen"
)

// A Sample is a value with a name that tests can ask for.
type Sample struct {
	Name  string
	Value any
}

// The identities of the samples belong to no running node.
var (
	samplePID       = gen.PID{Node: "node@localhost", ID: 1001, Creation: 1700000000}
	sampleProcessID = gen.ProcessID{Name: "worker", Node: "node@localhost"}
	sampleRef       = gen.Ref{Node: "node@localhost", Creation: 1700000000, ID: [3]uint64{262143, 24821, 1700000005}}
	sampleAlias     = gen.Alias{Node: "node@localhost", Creation: 1700000000, ID: [3]uint64{7, 24821, 0}}
	sampleEvent     = gen.Event{Name: "tick", Node: "node@localhost"}
)

// Samples returns the table, in a fixed order. Maps have one entry at most:
// Go writes larger ones in random order.
func Samples() []Sample {
	groups := [][]Sample{scalars(), texts(), identities(), times(), failures(), slices(), arrays(), maps(), registered()}
	var all []Sample
	for _, group := range groups {
		all = append(all, group...)
	}
	return all
}

func scalars() []Sample {
	return []Sample{
		{"bool_true", true},
		{"bool_false", false},
		{"int8_min", int8(math.MinInt8)},
		{"int8_max", int8(math.MaxInt8)},
		{"int16_min", int16(math.MinInt16)},
		{"int16_1", int16(1)},
		{"int32_neg", int32(-2)},
		{"int32_max", int32(math.MaxInt32)},
		{"int64_min", int64(math.MinInt64)},
		{"int64_max", int64(math.MaxInt64)},
		{"int_zero", 0},
		{"int_max", math.MaxInt},
		{"int_min", math.MinInt},
		{"uint8_max", uint8(math.MaxUint8)},
		{"uint16_max", uint16(math.MaxUint16)},
		{"uint32_max", uint32(math.MaxUint32)},
		{"uint64_max", uint64(math.MaxUint64)},
		{"uint_7", uint(7)},
		{"float32_pi", float32(math.Pi)},
		{"float32_max", float32(math.MaxFloat32)},
		{"float64_pi", math.Pi},
		{"float64_negative_zero", math.Copysign(0, -1)},
		{"float64_inf", math.Inf(1)},
		{"float64_nan", math.NaN()},
		{"float64_subnormal", math.SmallestNonzeroFloat64},
	}
}

func texts() []Sample {
	return []Sample{
		{"string_empty", ""},
		{"string_ascii", "hello"},
		{"string_utf8", "привет 🌍"},
		{"string_not_utf8", "a\xff\xfeb"},
		{"string_300", strings.Repeat("s", 300)},
		{"string_65533", strings.Repeat("z", 65533)},
		{"binary_empty", []byte{}},
		{"binary_5", []byte{1, 2, 3, 254, 255}},
		{"binary_70000", []byte(strings.Repeat("b", 70000))},
		{"atom_empty", gen.Atom("")},
		{"atom_inline", gen.Atom("worker")},
		{"atom_255", gen.Atom(strings.Repeat("a", 255))},
	}
}

func identities() []Sample {
	return []Sample{
		{"pid", samplePID},
		{"pid_zero", gen.PID{}},
		{"processid", sampleProcessID},
		{"ref", sampleRef},
		{"alias", sampleAlias},
		{"event", sampleEvent},
	}
}

func times() []Sample {
	return []Sample{
		{"time_utc", time.Date(2025, 11, 13, 18, 42, 50, 123456789, time.UTC)},
		{"time_epoch", time.Unix(0, 0).UTC()},
		{"time_plus0530", time.Date(2025, 1, 2, 3, 4, 5, 6, time.FixedZone("", 19800))},
		{"time_fixedzone_0", time.Date(2025, 1, 2, 3, 4, 5, 0, time.FixedZone("", 0))},
		{"time_v2_seconds_offset", time.Date(1900, 1, 1, 0, 0, 0, 0, time.FixedZone("", 33539))},
		{"time_before_year1", time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC)},
	}
}

func failures() []Sample {
	return []Sample{
		{"error_text", errors.New("boom")},
		{"error_empty", errors.New("")},
		{"error_wrapped", fmt.Errorf("outer: %w", errors.New("inner"))},
		{"error_registered", gen.ErrNotAllowed},
	}
}

func slices() []Sample {
	return []Sample{
		{"slice_nil", []string(nil)},
		{"slice_empty", []string{}},
		{"slice_bool", []bool{true, false, true}},
		{"slice_int8", []int8{1, -1}},
		{"slice_int16", []int16{1, -1}},
		{"slice_int32", []int32{1, -1}},
		{"slice_int64", []int64{1, -1}},
		{"slice_int", []int{1, -1}},
		{"slice_uint16", []uint16{1, 65535}},
		{"slice_uint32", []uint32{1, math.MaxUint32}},
		{"slice_uint64", []uint64{1, math.MaxUint64}},
		{"slice_uint", []uint{1, 2}},
		{"slice_float32", []float32{0.5, -1}},
		{"slice_float64", []float64{0.5, -1}},
		{"slice_string", []string{"a", ""}},
		{"slice_binary", [][]byte{{1}, {}}},
		{"slice_atom", []gen.Atom{"worker", "", "node@localhost"}},
		{"slice_error", []error{nil, errors.New("x"), gen.ErrTimeout}},
		{"slice_time", []time.Time{time.Unix(1, 0).UTC()}},
		{"slice_pid", []gen.PID{samplePID, {}}},
		{"slice_processid", []gen.ProcessID{sampleProcessID}},
		{"slice_ref", []gen.Ref{sampleRef}},
		{"slice_alias", []gen.Alias{sampleAlias}},
		{"slice_event", []gen.Event{sampleEvent}},
		{"slice_slice", [][]int8{{1, 2}, nil, {}}},
		{"slice_slice_slice", [][][]uint16{{{1}, nil}, nil}},
		{"slice_array", [][2]uint16{{1, 2}, {3, 4}}},
		{"slice_map", []map[string]bool{{"k": true}, nil, {}}},
		{"slice_any_nil", []any(nil)},
		{"slice_any_mixed", []any{
			nil, true, int8(-1), 7, uint16(9), "s", gen.Atom("worker"), []byte{9}, 1.5, float32(0.5),
			samplePID, sampleProcessID, sampleRef, sampleAlias, sampleEvent,
			time.Unix(0, 1).UTC(), errors.New("e"), []string{"x"}, [1]int8{4}, map[string]int8{"m": 1}, Point{1, 2}, MyInt(3),
		}},
		{"slice_any_nested", []any{[]any{[]any{}, nil}, []string{"x"}, map[string]any{"k": []int{1}}}},
		{"slice_registered", []Point{{1, 2}, {3, 4}}},
		{"slice_registered_slice", []MySlice{{{1, 0}}, nil, {}}},
		{"slice_marshaler", []Blob{NewBlob([]byte{1}), NewBlob([]byte{})}},
	}
}

func arrays() []Sample {
	return []Sample{
		{"array_0", [0]string{}},
		{"array_2_string", [2]string{"a", ""}},
		{"array_byte4", [4]byte{1, 2, 3, 4}},
		{"array_slice", [2][]int8{nil, {1}}},
		{"array_array", [2][2]bool{{true, false}, {false, true}}},
		{"array_any", [2]any{nil, "x"}},
		{"array_registered", [1]Point{{1, 2}}},
	}
}

func maps() []Sample {
	return []Sample{
		{"map_nil", map[string]int32(nil)},
		{"map_empty", map[string]int32{}},
		{"map_string_int32", map[string]int32{"k": -5}},
		{"map_atom_any", map[gen.Atom]any{"worker": uint8(3)}},
		{"map_atom_any_nil", map[gen.Atom]any{"worker": nil}},
		{"map_any_string", map[any]string{int8(4): "v"}},
		{"map_pid_slice", map[gen.PID][]string{samplePID: {"a"}}},
		{"map_map", map[string]map[uint8]bool{"o": {4: true}}},
		{"map_slice_nil", map[string][]string{"o": nil}},
		{"map_uint16_error", map[uint16]error{32768: gen.ErrTimeout}},
		{"map_registered", map[MyStr]MyInt{"k": 4}},
	}
}

func registered() []Sample {
	return []Sample{
		{"struct", Point{1, -2}},
		{"struct_empty", Empty{}},
		{"struct_embedded", Outer{Point{1, 2}, 3}},
		{"struct_zero", Shape{}},
		{"struct_full", Shape{
			Name: "s", Origin: Point{1, 2}, Points: []Point{{3, 4}}, Tags: map[string]int8{"t": 5},
			Extra: Point{6, 7}, Err: gen.ErrTimeout,
		}},
		{"struct_ids", Ids{samplePID, sampleProcessID, sampleRef, sampleAlias, sampleEvent, "worker"}},
		{"struct_deep", Deep{
			L: []map[string][]Point{{"k": {{1, 0}}}, nil},
			M: map[gen.Atom]any{"m": MyMap{"z": {}}},
			A: [2][]string{nil, {"q"}},
		}},
		{"struct_marshalers", WithMarshaler{3, NewBlob([]byte("blob")), NewBin([]byte{4, 3, 2, 1})}},
		{"reg_bool", MyBool(true)},
		{"reg_int8", MyI8(-3)},
		{"reg_uint16", MyU16(3)},
		{"reg_uint64", MyU64(3)},
		{"reg_int", MyInt(-7)},
		{"reg_float32", MyF32(0.5)},
		{"reg_string", MyStr("text")},
		{"reg_slice_nil", MySlice(nil)},
		{"reg_slice_empty", MySlice{}},
		{"reg_slice", MySlice{{1, 2}}},
		{"reg_slice_string", MyStrSlice{"a", "b"}},
		{"reg_slice_any", MyAnySlice{nil, "a", Point{}}},
		{"reg_array", MyArray{1, 2, 3}},
		{"reg_map_nil", MyMap(nil)},
		{"reg_map_empty", MyMap{}},
		{"reg_map", MyMap{"k": {1, 2}}},
		{"reg_marshaler", NewBlob([]byte{0xde, 0xad})},
		{"reg_marshaler_empty", NewBlob([]byte{})},
		{"reg_binary_marshaler", NewBin([]byte{4, 3, 2, 1})},
		{"networkflags_default", gen.DefaultNetworkFlags},
		{"version", gen.Version{Name: "n", Release: "r", Commit: "c", License: "MIT"}},
		{"messageevent", gen.MessageEvent{Event: sampleEvent, Timestamp: 1700000000000000000, Message: "tick"}},
	}
}
