package main

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"sync"
	"time"

	"ergo.services/ergo/gen"
)

const (
	ehsMagic = 87
	enpMagic = 78
	// A recording waits this long for a frame that has to come.
	patience = 10 * time.Second
)

// A tap sits on the sockets of node A and cuts what passes into frames.
type tap struct {
	mutex   sync.Mutex
	arrived *sync.Cond
	step    string
	links   map[net.Conn]*tappedLink
	opened  []linkInfo
	frames  []frame
	decoder decoder
}

type linkInfo struct {
	Conn     int    `json:"conn"`
	DialedBy string `json:"dialed_by"`
	To       string `json:"to"`
}

type frame struct {
	N       int    `json:"n"`
	Conn    int    `json:"conn"`
	Dir     string `json:"dir"`
	Step    string `json:"step"`
	Layer   string `json:"layer"`
	Note    string `json:"note"`
	Hex     string `json:"hex,omitempty"`
	Decoded any    `json:"decoded,omitempty"`
}

func newTap() *tap {
	t := &tap{links: make(map[net.Conn]*tappedLink)}
	t.arrived = sync.NewCond(&t.mutex)
	return t
}

// link finds or makes the tap of a socket: the handshake and the protocol are
// given the same one, one after the other.
func (t *tap) link(conn net.Conn) *tappedLink {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if known, ok := t.links[conn]; ok {
		return known
	}
	link := &tappedLink{Conn: conn, tap: t, number: len(t.links)}
	t.links[conn] = link
	t.opened = append(t.opened, linkInfo{link.number, "A", conn.RemoteAddr().String()})
	return link
}

// begin names the step that the next frames belong to.
func (t *tap) begin(step string) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.step = step
}

// await waits until so many frames of the current step are there.
func (t *tap) await(count int) error {
	expired := false
	timer := time.AfterFunc(patience, func() {
		t.mutex.Lock()
		expired = true
		t.arrived.Broadcast()
		t.mutex.Unlock()
	})
	defer timer.Stop()
	t.mutex.Lock()
	defer t.mutex.Unlock()
	for {
		seen := 0
		for _, frame := range t.frames {
			if frame.Step == t.step {
				seen++
			}
		}
		if seen >= count {
			return nil
		}
		if expired {
			return fmt.Errorf("step %s: %d frames where %d were expected", t.step, seen, count)
		}
		t.arrived.Wait()
	}
}

func (t *tap) add(link int, direction, layer, note, bytes string, decoded any) {
	t.frames = append(t.frames, frame{len(t.frames) + 1, link, direction, t.step, layer, note, bytes, decoded})
	t.arrived.Broadcast()
}

type tappedLink struct {
	net.Conn
	tap      *tap
	number   int
	sent     []byte
	received []byte
	closed   bool
}

// Unwrap gives the socket itself.
func (l *tappedLink) Unwrap() net.Conn { return l.Conn }

func (l *tappedLink) Write(bytes []byte) (int, error) {
	l.tap.mutex.Lock()
	l.sent = l.cut(append(l.sent, bytes...), "A>B")
	l.tap.mutex.Unlock()
	return l.Conn.Write(bytes)
}

func (l *tappedLink) Read(bytes []byte) (int, error) {
	n, err := l.Conn.Read(bytes)
	l.tap.mutex.Lock()
	defer l.tap.mutex.Unlock()
	l.received = l.cut(append(l.received, bytes[:n]...), "B>A")
	if err != nil && !l.closed {
		l.closed = true
		l.tap.add(l.number, "B>A", "tcp", "connection closed (seen by A)", "", nil)
	}
	return n, err
}

// cut records the complete frames and returns what is left.
func (l *tappedLink) cut(bytes []byte, direction string) []byte {
	for len(bytes) >= 8 {
		length := int(binary.BigEndian.Uint32(bytes[2:]))
		if bytes[0] == ehsMagic {
			length += 6
		}
		if len(bytes) < length {
			break
		}
		whole := bytes[:length]
		layer, note, decoded := l.tap.decoder.decode(direction, whole)
		l.tap.add(l.number, direction, layer, note, hex.EncodeToString(whole), decoded)
		bytes = bytes[length:]
	}
	return append([]byte(nil), bytes...)
}

// tappedHandshake gives the handshake a tapped socket.
type tappedHandshake struct {
	gen.NetworkHandshake
	tap *tap
}

func (h tappedHandshake) Start(node gen.NodeHandshake, conn net.Conn, options gen.HandshakeOptions) (gen.HandshakeResult, error) {
	return h.NetworkHandshake.Start(node, h.tap.link(conn), options)
}

func (h tappedHandshake) Join(node gen.NodeHandshake, conn net.Conn, id string, options gen.HandshakeOptions) ([]byte, error) {
	return h.NetworkHandshake.Join(node, h.tap.link(conn), id, options)
}
