package typed

import (
	"encoding"
	"reflect"

	"ergo.services/ergo/net/edf"
)

// A Schema describes a registered type as edf_test_types.jsonl does.
type Schema struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	// Fields are pairs of name and type; there may be none, but only structs have them.
	Fields any    `json:"fields,omitempty"`
	Item   string `json:"item,omitempty"`
	Key    string `json:"key,omitempty"`
	Len    int    `json:"len,omitempty"`
}

// Describe gives the schema of a registered type.
func Describe(t reflect.Type) Schema {
	schema := Schema{Name: registeredName(t)}
	switch {
	case t.Implements(reflect.TypeFor[edf.Marshaler]()):
		schema.Kind = "marshaler"
		return schema
	case t.Implements(reflect.TypeFor[encoding.BinaryMarshaler]()):
		schema.Kind = "binary_marshaler"
		return schema
	}
	schema.Kind = t.Kind().String()
	switch t.Kind() {
	case reflect.Struct:
		fields := [][2]string{}
		for i := 0; i < t.NumField(); i++ {
			field := t.Field(i)
			fields = append(fields, [2]string{field.Name, Name(field.Type)})
		}
		schema.Fields = fields
	case reflect.Array:
		schema.Item, schema.Len = Name(t.Elem()), t.Len()
	case reflect.Slice:
		schema.Item = Name(t.Elem())
	case reflect.Map:
		schema.Key, schema.Item = Name(t.Key()), Name(t.Elem())
	}
	return schema
}
