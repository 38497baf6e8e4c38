// Package typed writes Go values that EDF can carry as JSON, and reads them
// back, in the notation of the wire vectors (docs/wire/vectors, "Values").
package typed

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"ergo.services/ergo/gen"

	"example.org/postroad/interop/types"
)

var (
	anyType   = reflect.TypeFor[any]()
	errorType = reflect.TypeFor[error]()
)

// Types with a name of their own in the notation.
var plain = map[string]reflect.Type{
	"bool": reflect.TypeFor[bool](), "string": reflect.TypeFor[string](), "binary": reflect.TypeFor[[]byte](),
	"int8": reflect.TypeFor[int8](), "int16": reflect.TypeFor[int16](), "int32": reflect.TypeFor[int32](),
	"int64": reflect.TypeFor[int64](), "int": reflect.TypeFor[int](),
	"uint8": reflect.TypeFor[uint8](), "uint16": reflect.TypeFor[uint16](), "uint32": reflect.TypeFor[uint32](),
	"uint64": reflect.TypeFor[uint64](), "uint": reflect.TypeFor[uint](),
	"float32": reflect.TypeFor[float32](), "float64": reflect.TypeFor[float64](),
	"atom": reflect.TypeFor[gen.Atom](), "pid": reflect.TypeFor[gen.PID](), "processid": reflect.TypeFor[gen.ProcessID](),
	"ref": reflect.TypeFor[gen.Ref](), "alias": reflect.TypeFor[gen.Alias](), "event": reflect.TypeFor[gen.Event](),
	"time": reflect.TypeFor[time.Time](), "error": errorType, "any": anyType,
}

// Registered types of Ergo itself that the samples use.
var ergoTypes = []any{
	gen.NetworkFlags{}, gen.Version{}, gen.MessageEvent{}, gen.Route{}, gen.ApplicationMode(0),
}

var (
	plainNames = inverse(plain)
	registered = registeredTypes()
)

func inverse(byName map[string]reflect.Type) map[reflect.Type]string {
	byType := make(map[reflect.Type]string, len(byName))
	for name, t := range byName {
		byType[t] = name
	}
	return byType
}

func registeredTypes() map[string]reflect.Type {
	byName := make(map[string]reflect.Type)
	for _, value := range append(types.Registered(), ergoTypes...) {
		t := reflect.TypeOf(value)
		byName[registeredName(t)] = t
	}
	return byName
}

func registeredName(t reflect.Type) string {
	return "#" + t.PkgPath() + "/" + t.Name()
}

// Name gives the name of a type as the vectors write it.
func Name(t reflect.Type) string {
	if name, ok := plainNames[t]; ok {
		return name
	}
	if t.Implements(errorType) {
		return "error"
	}
	if t.Name() != "" {
		return registeredName(t)
	}
	switch t.Kind() {
	case reflect.Slice:
		return "[]" + Name(t.Elem())
	case reflect.Array:
		return fmt.Sprintf("[%d]%s", t.Len(), Name(t.Elem()))
	case reflect.Map:
		return "map[" + Name(t.Key()) + "]" + Name(t.Elem())
	}
	return t.String()
}

// Type finds the type of a name.
func Type(name string) (reflect.Type, error) {
	if t, ok := plain[name]; ok {
		return t, nil
	}
	switch {
	case strings.HasPrefix(name, "#"):
		if t, ok := registered[name]; ok {
			return t, nil
		}
		return nil, fmt.Errorf("type %s is not registered here", name)
	case strings.HasPrefix(name, "[]"):
		item, err := Type(name[2:])
		if err != nil {
			return nil, err
		}
		return reflect.SliceOf(item), nil
	case strings.HasPrefix(name, "map["):
		end := closing(name, len("map"))
		if end < 0 {
			break
		}
		key, err := Type(name[len("map["):end])
		if err != nil {
			return nil, err
		}
		item, err := Type(name[end+1:])
		if err != nil {
			return nil, err
		}
		if !key.Comparable() {
			return nil, fmt.Errorf("%s cannot be a map key", Name(key))
		}
		return reflect.MapOf(key, item), nil
	case strings.HasPrefix(name, "["):
		end := closing(name, 0)
		if end < 0 {
			break
		}
		length, err := strconv.ParseUint(name[1:end], 10, 31)
		if err != nil {
			break
		}
		item, err := Type(name[end+1:])
		if err != nil {
			return nil, err
		}
		return reflect.ArrayOf(int(length), item), nil
	}
	return nil, fmt.Errorf("no such type: %q", name)
}

// closing finds the bracket that closes the one at open, or -1.
func closing(name string, open int) int {
	depth := 0
	for i := open; i < len(name); i++ {
		switch name[i] {
		case '[':
			depth++
		case ']':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}
