package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"ergo.services/ergo/gen"
	"ergo.services/ergo/lib"
	"ergo.services/ergo/net/edf"

	"example.org/postroad/interop/typed"
	"example.org/postroad/interop/types"
)

// An edfLine is one value and its bytes.
type edfLine struct {
	Name     string   `json:"name"`
	GoType   string   `json:"go_type"`
	Cache    string   `json:"cache"`
	Options  *options `json:"options,omitempty"`
	Value    any      `json:"value"`
	Decoded  any      `json:"decoded,omitempty"`
	Hex      string   `json:"hex,omitempty"`
	HexParts [][2]any `json:"hex_parts,omitempty"`
	Size     int      `json:"size,omitempty"`
	Note     string   `json:"note,omitempty"`
	Dir      string   `json:"dir"`
}

// The options of a line are the tables of the encoding side.
type options struct {
	Atoms   map[string]uint16 `json:"atom_cache,omitempty"`
	Types   map[string]uint16 `json:"reg_cache,omitempty"`
	Errors  map[string]uint16 `json:"err_cache,omitempty"`
	Mapping map[string]string `json:"atom_mapping,omitempty"`
}

var style = typed.Style{Repeat: 64}

// The atoms in the samples, with ids as Ergo gives them (256 is the first).
var (
	atomIDs     = map[string]uint16{"node@localhost": 256, "worker": 300, "tick": 64535}
	atomMapping = map[string]string{"node@localhost": "x@y", "worker": "wire_name"}
)

// edfLines encodes every sample without tables, and again with the tables that
// make a difference to it.
func edfLines() ([]any, error) {
	var lines []any
	add := func(name string, value any, with *options) ([]byte, error) {
		line, encoded, err := encode(name, value, with)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		lines = append(lines, line)
		return encoded, nil
	}
	for _, sample := range types.Samples() {
		plain, err := add(sample.Name, sample.Value, nil)
		if err != nil {
			return nil, err
		}
		if tables := tablesFor(plain); tables != nil {
			if _, err := add(sample.Name+"_cached", sample.Value, tables); err != nil {
				return nil, err
			}
		}
		if mapping := mappingFor(plain); mapping != nil {
			if _, err := add(sample.Name+"_mapped", sample.Value, mapping); err != nil {
				return nil, err
			}
		}
	}
	return lines, nil
}

func encode(name string, value any, with *options) (edfLine, []byte, error) {
	writing, reading := with.tables()
	buffer := lib.TakeBuffer()
	defer lib.ReleaseBuffer(buffer)
	if err := edf.Encode(value, buffer, writing); err != nil {
		return edfLine{}, nil, err
	}
	encoded := bytes.Clone(buffer.B)
	line := edfLine{
		Name: name, GoType: fmt.Sprintf("%T", value), Cache: with.String(), Options: with,
		Value: style.Encode(value), Dir: "both",
	}
	line.Hex, line.HexParts, line.Size = hexOf(encoded)
	back, rest, err := edf.Decode(encoded, reading)
	if err != nil {
		line.Dir, line.Note = "encode", "Ergo cannot decode it: "+err.Error()
		return line, encoded, nil
	}
	if len(rest) > 0 {
		return line, nil, fmt.Errorf("%d bytes left over", len(rest))
	}
	if decoded := style.Encode(back); text(decoded) != text(line.Value) {
		line.Decoded = decoded
	}
	return line, encoded, nil
}

func text(v any) string {
	written, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(written)
}

// tablesFor picks the table entries whose names occur in an encoded value.
func tablesFor(plain []byte) *options {
	tables := &options{Atoms: occurring(plain, atomIDs), Types: map[string]uint16{}, Errors: map[string]uint16{}}
	for id, name := range edf.GetRegCache() {
		if occurs(plain, name) {
			tables.Types[name] = id
		}
	}
	for id, known := range edf.GetErrCache() {
		if occurs(plain, known.Error()) {
			tables.Errors[known.Error()] = id
		}
	}
	if len(tables.Atoms)+len(tables.Types)+len(tables.Errors) == 0 {
		return nil
	}
	return tables
}

func mappingFor(plain []byte) *options {
	if mapping := occurring(plain, atomMapping); len(mapping) > 0 {
		return &options{Mapping: mapping}
	}
	return nil
}

func occurring[T any](plain []byte, table map[string]T) map[string]T {
	found := maps.Clone(table)
	maps.DeleteFunc(found, func(name string, _ T) bool { return !occurs(plain, name) })
	return found
}

// occurs looks for a text with its length before it, in one byte or two.
func occurs(plain []byte, name string) bool {
	return bytes.Contains(plain, append([]byte{byte(len(name))}, name...))
}

// tables makes the options of the encoder and of the decoder.
func (o *options) tables() (writing, reading edf.Options) {
	if o == nil {
		return
	}
	if len(o.Atoms) > 0 {
		writing.AtomCache, reading.AtomCache = new(sync.Map), new(sync.Map)
		for name, id := range o.Atoms {
			writing.AtomCache.Store(gen.Atom(name), id)
			reading.AtomCache.Store(id, gen.Atom(name))
		}
	}
	if len(o.Types) > 0 {
		writing.RegCache, reading.RegCache = edf.MakeEncodeRegTypeCache(slices.Collect(maps.Keys(o.Types))), new(sync.Map)
		for name, id := range o.Types {
			reading.RegCache.Store(id, name)
		}
	}
	if len(o.Errors) > 0 {
		writing.ErrCache, reading.ErrCache = new(sync.Map), new(sync.Map)
		for id, known := range edf.GetErrCache() {
			if o.Errors[known.Error()] == id {
				writing.ErrCache.Store(known, id)
				reading.ErrCache.Store(id, known)
			}
		}
	}
	if len(o.Mapping) > 0 {
		writing.AtomMapping, reading.AtomMapping = new(sync.Map), new(sync.Map)
		for local, wire := range o.Mapping {
			writing.AtomMapping.Store(gen.Atom(local), gen.Atom(wire))
			reading.AtomMapping.Store(gen.Atom(wire), gen.Atom(local))
		}
	}
	return writing, reading
}

// String sums up which tables are in use.
func (o *options) String() string {
	if o == nil {
		return "no"
	}
	var used []string
	for name, in := range map[string]bool{
		"atom": len(o.Atoms) > 0, "reg": len(o.Types) > 0, "err": len(o.Errors) > 0, "mapping": len(o.Mapping) > 0,
	} {
		if in {
			used = append(used, name)
		}
	}
	slices.Sort(used)
	return strings.Join(used, "+")
}

// hexOf writes bytes as hex, or as parts and their size if one byte repeats long.
func hexOf(content []byte) (string, [][2]any, int) {
	const long = 256
	var parts [][2]any
	start := 0
	for at := 0; at < len(content); {
		end := at + 1
		for end < len(content) && content[end] == content[at] {
			end++
		}
		if end-at >= long {
			if start < at {
				parts = append(parts, [2]any{hex.EncodeToString(content[start:at]), 1})
			}
			parts = append(parts, [2]any{hex.EncodeToString(content[at : at+1]), end - at})
			start = end
		}
		at = end
	}
	if parts == nil {
		return hex.EncodeToString(content), nil, 0
	}
	if start < len(content) {
		parts = append(parts, [2]any{hex.EncodeToString(content[start:]), 1})
	}
	return "", parts, len(content)
}

// announced lists the types and errors that a node of this release announces,
// besides those of package types.
func announced() []any {
	type entry struct {
		Type  string `json:"type,omitempty"`
		Error string `json:"error,omitempty"`
	}
	var names, failures []string
	for _, name := range edf.GetRegCache() {
		if !strings.HasPrefix(name, "#example.org/") {
			names = append(names, name)
		}
	}
	for _, known := range edf.GetErrCache() {
		failures = append(failures, known.Error())
	}
	slices.Sort(names)
	slices.Sort(failures)
	var entries []any
	for _, name := range names {
		entries = append(entries, entry{Type: name})
	}
	for _, failure := range failures {
		entries = append(entries, entry{Error: failure})
	}
	return entries
}
