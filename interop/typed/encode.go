package typed

import (
	"encoding"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"math"
	"reflect"
	"strconv"
	"time"
	"unicode/utf8"

	"ergo.services/ergo/gen"
	"ergo.services/ergo/net/edf"
)

// A Value is a value with its type, ready for encoding/json.
type Value struct {
	Type  string `json:"type"`
	Value any    `json:"value"`
}

// A Style says how long binaries and strings are written.
type Style struct {
	// Repeat is the length above which a string or binary that repeats one
	// character is written as that character and a count. 0 is never.
	Repeat int
	// Digest is the length above which a string or binary is written as its
	// length and CRC-32. 0 is never.
	Digest int
}

type object = map[string]any

// Encode writes a value with its type; nil becomes null.
func (s Style) Encode(v any) any {
	if v == nil {
		return nil
	}
	value := reflect.ValueOf(v)
	return Value{Name(value.Type()), s.body(value)}
}

func (s Style) body(v reflect.Value) any {
	if v.Kind() == reflect.Interface && v.IsNil() {
		return nil
	}
	if v.Type() == anyType {
		return s.Encode(v.Interface())
	}
	switch x := v.Interface().(type) {
	case time.Time:
		return timeBody(x)
	case error:
		return s.text(x.Error())
	}
	if body, ok := identity(v.Interface()); ok {
		return body
	}
	if body, ok := marshaled(v); ok {
		return body
	}
	switch v.Kind() {
	case reflect.Bool:
		return v.Bool()
	case reflect.Int, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10)
	case reflect.Int8, reflect.Int16, reflect.Int32:
		return v.Int()
	case reflect.Uint, reflect.Uint64:
		return strconv.FormatUint(v.Uint(), 10)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return v.Uint()
	case reflect.Float32:
		bits := math.Float32bits(float32(v.Float()))
		return object{"bits": fmt.Sprintf("%08x", bits), "float": floatText(v.Float())}
	case reflect.Float64:
		return object{"bits": fmt.Sprintf("%016x", math.Float64bits(v.Float())), "float": floatText(v.Float())}
	case reflect.String:
		return s.text(v.String())
	case reflect.Slice:
		if v.IsNil() {
			return object{"nil": true}
		}
		if v.Type() == plain["binary"] {
			return s.binary(v.Bytes())
		}
		return s.items(v)
	case reflect.Array:
		return s.items(v)
	case reflect.Map:
		if v.IsNil() {
			return object{"nil": true}
		}
		pairs := make([][2]any, 0, v.Len())
		for entries := v.MapRange(); entries.Next(); {
			pairs = append(pairs, [2]any{s.body(entries.Key()), s.body(entries.Value())})
		}
		return object{"pairs": pairs}
	case reflect.Struct:
		fields := make([][2]any, 0, v.NumField())
		for i := 0; i < v.NumField(); i++ {
			fields = append(fields, [2]any{v.Type().Field(i).Name, s.body(v.Field(i))})
		}
		return object{"fields": fields}
	}
	return object{"go": fmt.Sprintf("%#v", v.Interface())}
}

func (s Style) items(v reflect.Value) []any {
	items := make([]any, v.Len())
	for i := range items {
		items[i] = s.body(v.Index(i))
	}
	return items
}

func (s Style) text(text string) any {
	if s.Digest > 0 && len(text) > s.Digest {
		return digest([]byte(text))
	}
	if s.repeats([]byte(text)) && text[0] < utf8.RuneSelf {
		return object{"repeat": text[:1], "count": len(text)}
	}
	if !utf8.ValidString(text) {
		return object{"bytes_hex": hex.EncodeToString([]byte(text))}
	}
	return text
}

func (s Style) binary(bytes []byte) any {
	if s.Digest > 0 && len(bytes) > s.Digest {
		return digest(bytes)
	}
	if s.repeats(bytes) {
		return object{"repeat": hex.EncodeToString(bytes[:1]), "count": len(bytes)}
	}
	return hex.EncodeToString(bytes)
}

func (s Style) repeats(bytes []byte) bool {
	if s.Repeat == 0 || len(bytes) <= s.Repeat {
		return false
	}
	for _, b := range bytes {
		if b != bytes[0] {
			return false
		}
	}
	return true
}

func digest(bytes []byte) any {
	return object{"len": len(bytes), "crc32": fmt.Sprintf("%08x", crc32.ChecksumIEEE(bytes))}
}

func floatText(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "+Inf"
	case math.IsInf(f, -1):
		return "-Inf"
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

func timeBody(t time.Time) any {
	_, offset := t.Zone()
	return object{
		"unix_sec": strconv.FormatInt(t.Unix(), 10), "nsec": t.Nanosecond(),
		"offset_sec": offset, "utc": t.Location() == time.UTC, "rfc3339": t.Format(time.RFC3339Nano),
	}
}

// PID, Alias and the like are objects, not the structs that Go makes of them.
func identity(v any) (any, bool) {
	switch id := v.(type) {
	case gen.PID:
		return object{"node": string(id.Node), "id": strconv.FormatUint(id.ID, 10), "creation": strconv.FormatInt(id.Creation, 10)}, true
	case gen.ProcessID:
		return object{"node": string(id.Node), "name": string(id.Name)}, true
	case gen.Event:
		return object{"node": string(id.Node), "name": string(id.Name)}, true
	case gen.Ref:
		return refBody(id), true
	case gen.Alias:
		return refBody(gen.Ref(id)), true
	}
	return nil, false
}

func refBody(ref gen.Ref) any {
	var id [3]string
	for i, part := range ref.ID {
		id[i] = strconv.FormatUint(part, 10)
	}
	return object{"node": string(ref.Node), "creation": strconv.FormatInt(ref.Creation, 10), "id": id}
}

// marshaled shows types that encode themselves by the bytes they write, unless
// their fields can be seen.
func marshaled(v reflect.Value) (any, bool) {
	if v.Kind() != reflect.Struct || v.NumField() > 0 && v.Type().Field(0).IsExported() {
		return nil, false
	}
	switch m := v.Interface().(type) {
	case edf.Marshaler:
		var out bytesWriter
		if err := m.MarshalEDF(&out); err != nil {
			return object{"marshaler_error": err.Error()}, true
		}
		return object{"marshaler_bytes": hex.EncodeToString(out)}, true
	case encoding.BinaryMarshaler:
		bytes, err := m.MarshalBinary()
		if err != nil {
			return object{"marshaler_error": err.Error()}, true
		}
		return object{"binary_marshaler_bytes": hex.EncodeToString(bytes)}, true
	}
	return nil, false
}

type bytesWriter []byte

func (w *bytesWriter) Write(p []byte) (int, error) {
	*w = append(*w, p...)
	return len(p), nil
}
