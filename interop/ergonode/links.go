package ergonode

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"

	"ergo.services/ergo/gen"
)

// WrapConn may replace a link of a connection to a peer. id is the id of the
// connection, which all of its links share.
type WrapConn func(peer gen.Atom, id string, conn net.Conn) net.Conn

// Links are the TCP connections of a node, by peer, in the order they joined.
type Links struct {
	wrap WrapConn

	mutex sync.Mutex
	open  map[gen.Atom][]*link
}

func newLinks(wrap WrapConn) *Links {
	return &Links{wrap: wrap, open: make(map[gen.Atom][]*link)}
}

// Count gives the number of open links with a peer.
func (l *Links) Count(peer gen.Atom) int {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return len(l.open[peer])
}

// Kill resets one link, without a word to Ergo, and says how many were open.
func (l *Links) Kill(peer gen.Atom, index int) (int, error) {
	l.mutex.Lock()
	open := slices.Clone(l.open[peer])
	l.mutex.Unlock()
	if index < 0 || index >= len(open) {
		return len(open), fmt.Errorf("no link %d with %s, %d are open", index, peer, len(open))
	}
	l.remove(open[index])
	return len(open), open[index].reset()
}

func (l *Links) add(peer gen.Atom, id string, conn net.Conn) net.Conn {
	if l.wrap != nil {
		conn = l.wrap(peer, id, conn)
	}
	added := &link{Conn: conn, peer: peer, links: l}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.open[peer] = append(l.open[peer], added)
	return added
}

func (l *Links) remove(gone *link) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.open[gone.peer] = slices.DeleteFunc(l.open[gone.peer], func(other *link) bool { return other == gone })
}

type link struct {
	net.Conn
	peer  gen.Atom
	links *Links
}

func (l *link) Close() error {
	l.links.remove(l)
	return l.Conn.Close()
}

func (l *link) reset() error {
	if tcp := tcpOf(l.Conn); tcp != nil {
		if err := tcp.SetLinger(0); err != nil {
			return err
		}
		return tcp.Close()
	}
	return l.Conn.Close()
}

func tcpOf(conn net.Conn) *net.TCPConn {
	for {
		switch c := conn.(type) {
		case *net.TCPConn:
			return c
		case *tls.Conn:
			conn = c.NetConn()
		case interface{ Unwrap() net.Conn }:
			conn = c.Unwrap()
		default:
			return nil
		}
	}
}

func portOf(address string) (uint16, error) {
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		return 0, err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	return uint16(port), err
}

// trackedProto is Ergo's protocol, with an eye on the links that join.
type trackedProto struct {
	gen.NetworkProto
	links *Links
}

func (p trackedProto) NewConnection(core gen.Core, result gen.HandshakeResult, log gen.Log) (gen.Connection, error) {
	inner, err := p.NetworkProto.NewConnection(core, result, log)
	if err != nil {
		return nil, err
	}
	return &trackedConnection{inner, result.Peer, p.links}, nil
}

func (p trackedProto) Serve(conn gen.Connection, redial gen.NetworkDial) error {
	tracked := conn.(*trackedConnection)
	return p.NetworkProto.Serve(tracked.Connection, tracked.dial(redial))
}

type trackedConnection struct {
	gen.Connection
	peer  gen.Atom
	links *Links
}

func (c *trackedConnection) Join(conn net.Conn, id string, redial gen.NetworkDial, tail []byte) error {
	link := c.links.add(c.peer, id, conn)
	err := c.Connection.Join(link, id, c.dial(redial), tail)
	if err != nil {
		link.Close()
	}
	return err
}

func (c *trackedConnection) dial(redial gen.NetworkDial) gen.NetworkDial {
	if redial == nil {
		return nil
	}
	return func(address, id string) (net.Conn, []byte, error) {
		conn, tail, err := redial(address, id)
		if err != nil {
			return nil, nil, err
		}
		return c.links.add(c.peer, id, conn), tail, nil
	}
}
