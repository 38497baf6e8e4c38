package typed

import (
	"bytes"
	"encoding"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"ergo.services/ergo/gen"
	"ergo.services/ergo/net/edf"
)

// Decode reads {"type","value"}; null gives nil.
func Decode(raw json.RawMessage) (any, error) {
	if isNull(raw) {
		return nil, nil
	}
	var typed struct {
		Type  string          `json:"type"`
		Value json.RawMessage `json:"value"`
	}
	if err := json.Unmarshal(raw, &typed); err != nil {
		return nil, err
	}
	return DecodeAs(typed.Type, typed.Value)
}

// DecodeAs reads a value whose type is known.
func DecodeAs(name string, raw json.RawMessage) (any, error) {
	t, err := Type(name)
	if err != nil {
		return nil, err
	}
	value := reflect.New(t).Elem()
	if err := fill(value, raw); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return value.Interface(), nil
}

func isNull(raw json.RawMessage) bool {
	return len(raw) == 0 || string(bytes.TrimSpace(raw)) == "null"
}

func fill(v reflect.Value, raw json.RawMessage) error {
	switch v.Type() {
	case anyType:
		inner, err := Decode(raw)
		if err != nil || inner == nil {
			return err
		}
		v.Set(reflect.ValueOf(inner))
		return nil
	case errorType:
		if isNull(raw) {
			return nil
		}
		text, err := text(raw)
		if err != nil {
			return err
		}
		v.Set(reflect.ValueOf(errors.New(text)))
		return nil
	}
	if ok, err := fillIdentity(v.Addr().Interface(), raw); ok {
		return err
	}
	if ok, err := unmarshal(v.Addr().Interface(), raw); ok {
		return err
	}
	switch v.Kind() {
	case reflect.Bool:
		return json.Unmarshal(raw, v.Addr().Interface())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(strings.Trim(string(raw), `"`), 10, v.Type().Bits())
		v.SetInt(n)
		return err
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(strings.Trim(string(raw), `"`), 10, v.Type().Bits())
		v.SetUint(n)
		return err
	case reflect.Float32, reflect.Float64:
		return fillFloat(v, raw)
	case reflect.String:
		text, err := text(raw)
		v.SetString(text)
		return err
	case reflect.Slice:
		if nothing(raw) {
			return nil
		}
		if v.Type() == plain["binary"] {
			content, err := binary(raw)
			v.SetBytes(content)
			return err
		}
		var items []json.RawMessage
		if err := json.Unmarshal(raw, &items); err != nil {
			return err
		}
		v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
		return fillItems(v, items)
	case reflect.Array:
		var items []json.RawMessage
		if err := json.Unmarshal(raw, &items); err != nil {
			return err
		}
		if len(items) != v.Len() {
			return fmt.Errorf("%d items for an array of %d", len(items), v.Len())
		}
		return fillItems(v, items)
	case reflect.Map:
		return fillMap(v, raw)
	case reflect.Struct:
		return fillStruct(v, raw)
	}
	return fmt.Errorf("cannot read a value of type %s", v.Type())
}

func fillItems(v reflect.Value, items []json.RawMessage) error {
	for i, item := range items {
		if err := fill(v.Index(i), item); err != nil {
			return err
		}
	}
	return nil
}

func fillMap(v reflect.Value, raw json.RawMessage) error {
	if nothing(raw) {
		return nil
	}
	var body struct {
		Pairs [][2]json.RawMessage `json:"pairs"`
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		return err
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(body.Pairs)))
	for _, pair := range body.Pairs {
		key, item := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		if err := fill(key, pair[0]); err != nil {
			return err
		}
		if !key.Comparable() {
			return fmt.Errorf("%s is no map key", pair[0])
		}
		if err := fill(item, pair[1]); err != nil {
			return err
		}
		v.SetMapIndex(key, item)
	}
	return nil
}

func fillStruct(v reflect.Value, raw json.RawMessage) error {
	var body struct {
		Fields [][2]json.RawMessage `json:"fields"`
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		return err
	}
	for _, pair := range body.Fields {
		var name string
		if err := json.Unmarshal(pair[0], &name); err != nil {
			return err
		}
		field := v.FieldByName(name)
		if !field.IsValid() || !field.CanSet() {
			return fmt.Errorf("no field %s", name)
		}
		if err := fill(field, pair[1]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func fillFloat(v reflect.Value, raw json.RawMessage) error {
	var number float64
	if json.Unmarshal(raw, &number) == nil {
		v.SetFloat(number)
		return nil
	}
	var body struct {
		Bits string `json:"bits"`
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		return err
	}
	bits, err := strconv.ParseUint(body.Bits, 16, v.Type().Bits())
	if err != nil {
		return err
	}
	if v.Kind() == reflect.Float32 {
		// Set, not SetFloat: a detour over float64 would change the bits of a signalling NaN.
		v.Set(reflect.ValueOf(math.Float32frombits(uint32(bits))).Convert(v.Type()))
		return nil
	}
	v.SetFloat(math.Float64frombits(bits))
	return nil
}

func nothing(raw json.RawMessage) bool {
	var body struct {
		Nil bool `json:"nil"`
	}
	return json.Unmarshal(raw, &body) == nil && body.Nil
}

type repeated struct {
	Repeat   *string `json:"repeat"`
	Count    int     `json:"count"`
	BytesHex *string `json:"bytes_hex"`
}

// maxRepeat bounds what a short line of JSON can ask for.
const maxRepeat = 256 << 20

func text(raw json.RawMessage) (string, error) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text, nil
	}
	var long repeated
	if err := json.Unmarshal(raw, &long); err != nil {
		return "", err
	}
	switch {
	case long.BytesHex != nil:
		content, err := hex.DecodeString(*long.BytesHex)
		return string(content), err
	case long.Repeat != nil && long.Count >= 0 && long.Count*len(*long.Repeat) <= maxRepeat:
		return strings.Repeat(*long.Repeat, long.Count), nil
	}
	return "", fmt.Errorf("%.80s is no text", raw)
}

func binary(raw json.RawMessage) ([]byte, error) {
	var digits string
	if json.Unmarshal(raw, &digits) == nil {
		return hex.DecodeString(digits)
	}
	var long repeated
	if err := json.Unmarshal(raw, &long); err != nil {
		return nil, err
	}
	if long.Repeat == nil || long.Count < 0 || long.Count*len(*long.Repeat) > 2*maxRepeat {
		return nil, fmt.Errorf("%.80s is no binary", raw)
	}
	unit, err := hex.DecodeString(*long.Repeat)
	return bytes.Repeat(unit, long.Count), err
}

// A number that may be written as a decimal string.
type wide string

func (w *wide) UnmarshalJSON(raw []byte) error {
	*w = wide(strings.Trim(string(raw), `"`))
	return nil
}

func (w wide) signed() (int64, error) {
	if w == "" {
		return 0, nil
	}
	return strconv.ParseInt(string(w), 10, 64)
}

func (w wide) unsigned() (uint64, error) {
	if w == "" {
		return 0, nil
	}
	return strconv.ParseUint(string(w), 10, 64)
}

func fillIdentity(target any, raw json.RawMessage) (bool, error) {
	var err error
	switch id := target.(type) {
	case *gen.PID:
		var body struct {
			Node         gen.Atom
			ID, Creation wide
		}
		if err = json.Unmarshal(raw, &body); err != nil {
			return true, err
		}
		id.Node = body.Node
		id.ID, err = body.ID.unsigned()
		if err == nil {
			id.Creation, err = body.Creation.signed()
		}
	case *gen.ProcessID:
		err = json.Unmarshal(raw, (*struct{ Name, Node gen.Atom })(id))
	case *gen.Event:
		err = json.Unmarshal(raw, (*struct{ Name, Node gen.Atom })(id))
	case *gen.Ref:
		err = fillRef(id, raw)
	case *gen.Alias:
		err = fillRef((*gen.Ref)(id), raw)
	case *time.Time:
		err = fillTime(id, raw)
	default:
		return false, nil
	}
	return true, err
}

func fillRef(ref *gen.Ref, raw json.RawMessage) error {
	var body struct {
		Node     gen.Atom
		Creation wide
		ID       [3]wide
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		return err
	}
	ref.Node = body.Node
	creation, err := body.Creation.signed()
	if err != nil {
		return err
	}
	ref.Creation = creation
	for i, part := range body.ID {
		if ref.ID[i], err = part.unsigned(); err != nil {
			return err
		}
	}
	return nil
}

func fillTime(t *time.Time, raw json.RawMessage) error {
	var body struct {
		Seconds wide  `json:"unix_sec"`
		Nanos   int64 `json:"nsec"`
		Offset  int   `json:"offset_sec"`
		UTC     bool  `json:"utc"`
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		return err
	}
	seconds, err := body.Seconds.signed()
	if err != nil {
		return err
	}
	zone := time.UTC
	if !body.UTC {
		zone = time.FixedZone("", body.Offset)
	}
	*t = time.Unix(seconds, body.Nanos).In(zone)
	return nil
}

func unmarshal(target any, raw json.RawMessage) (bool, error) {
	var body struct {
		EDF    *string `json:"marshaler_bytes"`
		Binary *string `json:"binary_marshaler_bytes"`
	}
	if json.Unmarshal(raw, &body) != nil {
		return false, nil
	}
	switch m := target.(type) {
	case edf.Unmarshaler:
		if body.EDF == nil {
			return false, nil
		}
		content, err := hex.DecodeString(*body.EDF)
		if err != nil {
			return true, err
		}
		return true, m.UnmarshalEDF(content)
	case encoding.BinaryUnmarshaler:
		if body.Binary == nil {
			return false, nil
		}
		content, err := hex.DecodeString(*body.Binary)
		if err != nil {
			return true, err
		}
		return true, m.UnmarshalBinary(content)
	}
	return false, nil
}
