package main

import (
	"bytes"
	"compress/gzip"
	"compress/lzw"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"ergo.services/ergo/gen"
	"ergo.services/ergo/net/edf"
	"ergo.services/ergo/net/handshake"
)

// A decoder reads frames as docs/wire/EHS.md and docs/wire/ENP.md describe them,
// with the caches that each side announced; payloads are read by Ergo's codec.
type decoder struct {
	caches map[string]edf.Options // by direction
}

var notes = map[byte]string{
	101: "MessagePID", 102: "MessageName", 103: "MessageNameCache", 104: "MessageAlias", 107: "Exit",
	121: "RequestPID", 122: "RequestName", 123: "RequestNameCache", 124: "RequestAlias",
	129: "Response", 130: "ResponseError", 182: "TerminateName", 183: "TerminateNameCache", 199: "Any",
}

func (d *decoder) decode(direction string, frame []byte) (layer, note string, decoded any) {
	if frame[0] == ehsMagic {
		message, _, err := edf.Decode(frame[6:], edf.Options{})
		if err != nil {
			return "ehs", "unreadable: " + err.Error(), nil
		}
		if introduce, ok := message.(handshake.MessageIntroduce); ok {
			d.learn(direction, introduce)
		}
		name := fmt.Sprintf("%T", message)
		return "ehs", name[strings.LastIndexByte(name, '.')+1:], style.Encode(message)
	}
	fields, note := d.enp(direction, frame)
	return "enp", note, fields
}

func (d *decoder) learn(direction string, introduce handshake.MessageIntroduce) {
	options := edf.Options{AtomCache: new(sync.Map), RegCache: new(sync.Map), ErrCache: new(sync.Map)}
	for id, atom := range introduce.AtomCache {
		options.AtomCache.Store(id, atom)
	}
	for id, name := range introduce.RegCache {
		options.RegCache.Store(id, name)
	}
	for id, failure := range introduce.ErrCache {
		options.ErrCache.Store(id, failure)
	}
	if d.caches == nil {
		d.caches = make(map[string]edf.Options)
	}
	d.caches[direction] = options
}

// enp reads one frame into the fields that the recordings name.
func (d *decoder) enp(direction string, frame []byte) (map[string]any, string) {
	r := &reader{rest: frame[8:], caches: d.caches[direction]}
	kind := frame[7]
	fields := map[string]any{"order": frame[6], "type": kind}
	note, known := notes[kind]
	switch kind {
	case 101, 102, 103, 104:
		fields["from"] = r.id()
		r.delivery(fields)
		fields["message_id"] = r.id()
	case 107, 129, 130:
		fields["from"] = r.id()
		r.delivery(fields)
		fields["to"] = r.id()
	case 121, 122, 123, 124:
		fields["from"] = r.id()
		r.delivery(fields)
		fields["ref"] = r.ids()
	case 182, 183:
		fields["priority"] = r.byte()
	case 199:
	case 200:
		return d.packed(direction, fields, r)
	}
	if !known {
		return fields, fmt.Sprintf("type %d", kind)
	}
	switch kind {
	case 101, 121:
		fields["to"] = r.id()
	case 102, 122:
		fields["to_name"] = r.name()
	case 103, 123:
		r.cachedName(fields, "to_name")
	case 104, 124:
		fields["to_alias"] = r.ids()
	case 129, 130:
		fields["ref"] = r.ids()
	case 182:
		fields["target_name"] = r.name()
	case 183:
		r.cachedName(fields, "target_name")
	}
	if kind == 130 {
		code := r.byte()
		if fields["code"] = code; code != 255 {
			return fields, note
		}
	}
	payload, _, err := edf.Decode(r.rest, r.caches)
	if err != nil {
		return fields, note + ", unreadable: " + err.Error()
	}
	fields["payload"] = style.Encode(payload)
	return fields, note
}

func (d *decoder) packed(direction string, fields map[string]any, r *reader) (map[string]any, string) {
	method := r.byte()
	length := int(binary.BigEndian.Uint32(r.take(4)))
	fields["compression"], fields["unpacked_len"] = method, length
	inner, err := unpack(method, r.rest)
	if err != nil {
		return fields, "Z, unreadable: " + err.Error()
	}
	fields["unpacked_len_actual"] = len(inner)
	innerFields, note := d.enp(direction, inner)
	fields["inner"] = innerFields
	return fields, "Z(" + note + ")"
}

func unpack(method byte, packed []byte) ([]byte, error) {
	var unpacked io.Reader
	var err error
	switch method {
	case 100:
		unpacked = lzw.NewReader(bytes.NewReader(packed), lzw.LSB, 8)
	case 101:
		unpacked, err = zlib.NewReader(bytes.NewReader(packed))
	case 102:
		unpacked, err = gzip.NewReader(bytes.NewReader(packed))
	default:
		err = fmt.Errorf("compression %d", method)
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(unpacked)
}

type reader struct {
	rest   []byte
	caches edf.Options
}

func (r *reader) take(n int) []byte {
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) byte() byte { return r.take(1)[0] }

func (r *reader) id() string {
	return strconv.FormatUint(binary.BigEndian.Uint64(r.take(8)), 10)
}

func (r *reader) ids() [3]string { return [3]string{r.id(), r.id(), r.id()} }

func (r *reader) name() string { return string(r.take(int(r.byte()))) }

func (r *reader) cachedName(fields map[string]any, field string) {
	id := binary.BigEndian.Uint16(r.take(2))
	fields[field+"_cache_id"] = id
	if name, ok := r.caches.AtomCache.Load(id); ok {
		fields[field] = string(name.(gen.Atom))
	}
}

func (r *reader) delivery(fields map[string]any) {
	priority := r.byte()
	fields["priority"], fields["important"] = priority&3, priority&0x80 != 0
}
