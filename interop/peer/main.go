// Ergo-peer is one real Ergo node that a test drives by JSON lines on stdin and
// stdout. The protocol is in ../README.md.
package main

import (
	"bufio"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"ergo.services/ergo/gen"

	"example.org/postroad/interop/ergonode"
	"example.org/postroad/interop/types"
)

// stopLimit bounds an orderly stop; after it the process just ends.
const stopLimit = 3 * time.Second

func main() {
	out := &output{to: os.Stdout}
	peer, err := start(out)
	if err != nil {
		out.event("failed", fields{"error": err.Error()})
		os.Exit(1)
	}
	out.event("ready", peer.description())
	peer.serve(os.Stdin)

	time.AfterFunc(stopLimit, func() { os.Exit(0) })
	peer.node.Stop()
	peer.node.Wait()
}

func start(out *output) (*peer, error) {
	options := ergonode.Options{}
	name := flag.String("name", "", "node `name`, like a@localhost")
	cookie := flag.String("cookie", "", "cookie of the node")
	flag.StringVar(&options.Host, "host", "127.0.0.1", "address the acceptor binds")
	port := portFlag("port", "port of the acceptor; 0 takes a free one")
	acceptor := flag.Bool("acceptor", true, "false: a hidden node")
	registrarPort := portFlag("registrar-port", "port of Ergo's registrar; 0: no registrar")
	server := flag.Bool("registrar-server", true, "false: never be the registrar's server")
	flag.IntVar(&options.Pool, "pool", 3, "links per accepted connection")
	flag.IntVar(&options.MaxMessageSize, "max-message-size", 0, "bytes; 0 is no limit")
	features := flag.String("flags", "default", "network flags: default or none")
	flag.BoolVar(&options.ExposeEnv, "expose-env", false, "what other nodes start for this one gets its environment")
	flag.BoolVar(&options.TLS, "tls", false, "acceptor with TLS and a self-signed certificate")
	certificate := flag.String("tls-cert", "", "PEM `file` of the chain that the acceptor shows; needs -tls-key")
	key := flag.String("tls-key", "", "PEM `file` of its private key")
	trust := flag.String("tls-trust", "", "PEM `file` of the roots that certificates of dialed peers are checked against")
	fingerprint := flag.Bool("tls-fingerprint", true, "false: peers need not prove their certificate with the cookie")
	level := flag.String("log", "error", "log level")
	flag.Parse()

	if *name == "" || *cookie == "" {
		return nil, fmt.Errorf("-name and -cookie are required")
	}
	if *features != "default" && *features != "none" {
		return nil, fmt.Errorf("-flags is default or none, not %q", *features)
	}
	logLevel, err := parseLevel(*level)
	if err != nil {
		return nil, err
	}
	options.Name, options.Cookie = *name, *cookie
	options.Port, options.RegistrarPort = uint16(*port), uint16(*registrarPort)
	options.Hidden = !*acceptor
	options.RegistrarClient = !*server
	options.NoFeatures = *features == "none"
	options.LogLevel = logLevel
	options.NoTLSFingerprint = !*fingerprint
	if *certificate != "" {
		pair, err := tls.LoadX509KeyPair(*certificate, *key)
		if err != nil {
			return nil, err
		}
		options.Certificate = &pair
	}
	if *trust != "" {
		// Ergo can be told of no other roots than those of the system.
		if err := os.Setenv("SSL_CERT_FILE", *trust); err != nil {
			return nil, err
		}
		options.VerifyTLS = true
	}

	if err := types.Register(); err != nil {
		return nil, err
	}
	node, err := ergonode.Start(options)
	if err != nil {
		return nil, err
	}
	peer := &peer{node: node, host: options.Host, out: out, workers: make(map[gen.Atom]*worker)}
	for _, kind := range []string{"careful", "driver", "echo", "fail", "mute", "recorder"} {
		if _, err := peer.spawn(kind, gen.Atom(kind), gen.ProcessOptions{}); err != nil {
			return nil, fmt.Errorf("spawn %s: %w", kind, err)
		}
	}
	return peer, nil
}

// serve carries out commands until stop or the end of the input.
func (p *peer) serve(input io.Reader) {
	lines := bufio.NewReaderSize(input, 1<<16)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 1 {
			command, parseErr := parse(line)
			switch {
			case parseErr != nil && command.ID != nil:
				p.out.fail(command.ID, parseErr)
			case parseErr != nil:
				p.out.event("error", fields{"error": parseErr.Error()})
			case command.Cmd == "stop":
				p.out.reply(command.ID, true)
				return
			default:
				p.run(command)
			}
		}
		if err != nil {
			return
		}
	}
}

func parseLevel(name string) (gen.LogLevel, error) {
	for _, level := range []gen.LogLevel{
		gen.LogLevelTrace, gen.LogLevelDebug, gen.LogLevelInfo, gen.LogLevelWarning,
		gen.LogLevelError, gen.LogLevelPanic, gen.LogLevelDisabled,
	} {
		if level.String() == name {
			return level, nil
		}
	}
	return 0, fmt.Errorf("no such log level: %q", name)
}

type portValue uint16

func portFlag(name, usage string) *portValue {
	value := new(portValue)
	flag.Var(value, name, usage)
	return value
}

func (p *portValue) String() string { return strconv.Itoa(int(*p)) }

func (p *portValue) Set(text string) error {
	port, err := strconv.ParseUint(text, 10, 16)
	*p = portValue(port)
	return err
}
