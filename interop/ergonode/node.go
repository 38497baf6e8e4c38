// Package ergonode starts real Ergo nodes for tests and benches: on loopback,
// without telemetry, with every TCP link within reach.
package ergonode

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"os"

	"ergo.services/ergo"
	"ergo.services/ergo/gen"
	"ergo.services/ergo/lib"
	"ergo.services/ergo/net/handshake"
	"ergo.services/ergo/net/proto"
)

// Options of a node. The zero value of a field is a sensible default except
// for Name and Cookie, which are required.
type Options struct {
	Name   string
	Cookie string

	// Host is the address the acceptor binds, 127.0.0.1 if empty.
	Host string
	// Port of the acceptor; 0 takes a free one.
	Port uint16
	// Hidden nodes have no acceptor.
	Hidden bool

	// Registrar, if not nil, is asked instead of Ergo's own.
	Registrar gen.Registrar
	// RegistrarPort is where Ergo's registrar is, or 0 for none.
	RegistrarPort uint16
	// RegistrarClient keeps the node from being the registrar's server.
	RegistrarClient bool

	// Pool is the number of links of an accepted connection, 3 if 0.
	Pool int
	// MaxMessageSize in bytes; 0 is no limit.
	MaxMessageSize int
	// NoFeatures turns every network flag off.
	NoFeatures bool
	// ExposeEnv passes the node's environment on to what other nodes start for it.
	ExposeEnv bool
	// TLS makes the acceptor ask for TLS, with a self-signed certificate.
	TLS bool
	// Certificate, if not nil, is shown by the acceptor instead.
	Certificate *tls.Certificate
	// VerifyTLS checks the certificates of dialed peers against the system's
	// roots (SSL_CERT_FILE). Default: any is accepted.
	VerifyTLS bool
	// NoTLSFingerprint leaves out the check that the peer proves its certificate
	// with the cookie.
	NoTLSFingerprint bool

	LogLevel gen.LogLevel

	// WrapHandshake may put itself around the handshake, for example to record it.
	WrapHandshake func(gen.NetworkHandshake) gen.NetworkHandshake
	// WrapConn may put itself around each link after the handshake.
	WrapConn WrapConn
}

// A Node is a running Ergo node.
type Node struct {
	gen.Node
	// Port of the acceptor; 0 if there is none.
	Port uint16
	// Links are the open TCP connections.
	Links *Links

	dialing dialing
}

// Start starts a node.
func Start(options Options) (*Node, error) {
	if options.Host == "" {
		options.Host = "127.0.0.1"
	}
	links := newLinks(options.WrapConn)
	tracked := trackedProto{proto.Create(), links}
	shake := handshake.Create(handshake.Options{
		PoolSize:              options.Pool,
		DisableTLSFingerprint: options.NoTLSFingerprint,
	})
	if options.WrapHandshake != nil {
		shake = options.WrapHandshake(shake)
	}

	dialing := dialing{tracked, shake}

	network := gen.NetworkOptions{
		Mode:               gen.NetworkModeEnabled,
		Cookie:             options.Cookie,
		Flags:              Flags(options.NoFeatures),
		MaxMessageSize:     options.MaxMessageSize,
		InsecureSkipVerify: !options.VerifyTLS,
		Registrar:          dialing.registrar(newRegistrar(options)),
	}
	if options.Hidden {
		network.Mode = gen.NetworkModeHidden
	} else {
		acceptor, err := acceptorOptions(options)
		if err != nil {
			return nil, err
		}
		acceptor.Proto, acceptor.Handshake = tracked, shake
		network.Acceptors = []gen.AcceptorOptions{acceptor}
	}

	node, err := startNode(gen.Atom(options.Name), gen.NodeOptions{
		Env:     map[gen.Env]any{"disable_metrics": true},
		Network: network,
		Security: gen.SecurityOptions{
			ExposeEnvRemoteSpawn:            options.ExposeEnv,
			ExposeEnvRemoteApplicationStart: options.ExposeEnv,
		},
		Log: gen.LogOptions{
			Level:         options.LogLevel,
			DefaultLogger: gen.DefaultLoggerOptions{Output: os.Stderr},
		},
	})
	if err != nil {
		return nil, err
	}
	node.SetCTRLC(false)
	dialing.register(node.Network())
	started := &Node{Node: node, Links: links, dialing: dialing}
	if !options.Hidden {
		if started.Port, err = acceptorPort(node); err != nil {
			node.StopForce()
			return nil, err
		}
	}
	return started, nil
}

// startNode keeps standard output for what the programs here write: 3.2.0 greets
// there with a banner, and the option against that is unknown to 3.1.0.
func startNode(name gen.Atom, options gen.NodeOptions) (gen.Node, error) {
	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	defer nowhere.Close()
	defer func(stdout *os.File) { os.Stdout = stdout }(os.Stdout)
	os.Stdout = nowhere
	return ergo.StartNode(name, options)
}

// Flags gives Ergo's default network flags, or flags with every feature off.
// They have to be marked as customised, or Ergo reads them as "use the default".
func Flags(noFeatures bool) gen.NetworkFlags {
	if noFeatures {
		return gen.NetworkFlags{Enable: true}
	}
	return gen.DefaultNetworkFlags
}

// AddRoute adds a static route whose links are tracked in Links.
func (n *Node) AddRoute(pattern string, route gen.NetworkRoute, weight int) error {
	route.Route = n.dialing.route(route.Route)
	return n.Network().AddRoute(pattern, route, weight)
}

func acceptorOptions(options Options) (gen.AcceptorOptions, error) {
	acceptor := gen.AcceptorOptions{
		Host:           options.Host,
		Port:           options.Port,
		PortRange:      options.Port,
		TCP:            "tcp",
		MaxMessageSize: options.MaxMessageSize,
		Flags:          Flags(options.NoFeatures),
	}
	if options.Port == 0 {
		// Below the ephemeral ports, and right for both meanings PortRange has
		// had: last port (up to 3.2) and number of ports (from 3.3).
		acceptor.Port = 12000 + uint16(rand.IntN(18000))
		acceptor.PortRange = 31000
	}
	if options.Certificate != nil {
		acceptor.CertManager = gen.CreateCertManager(*options.Certificate)
	} else if options.TLS {
		certificate, err := lib.GenerateSelfSignedCert("postroad interop", "localhost", "127.0.0.1")
		if err != nil {
			return acceptor, err
		}
		acceptor.CertManager = gen.CreateCertManager(certificate)
	}
	return acceptor, nil
}

func acceptorPort(node gen.Node) (uint16, error) {
	acceptors, err := node.Network().Acceptors()
	if err != nil {
		return 0, err
	}
	if len(acceptors) != 1 {
		return 0, fmt.Errorf("%d acceptors where one was asked for", len(acceptors))
	}
	return portOf(acceptors[0].Info().Interface)
}
