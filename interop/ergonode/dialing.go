package ergonode

import "ergo.services/ergo/gen"

// Dialing makes the node's own dials use our protocol and handshake. Ergo takes
// them by the versions named in a route, and its own are registered before we
// get a say; so ours are registered under other names, and routes ask for them.
// The names stay inside the node: what it announces is Ergo's.
type dialing struct {
	proto     gen.NetworkProto
	handshake gen.NetworkHandshake
}

func (d dialing) register(network gen.Network) {
	network.RegisterProto(dialedProto{d.proto})
	network.RegisterHandshake(dialedHandshake{d.handshake})
}

func (d dialing) route(route gen.Route) gen.Route {
	route.ProtoVersion = dialedProto{d.proto}.Version()
	route.HandshakeVersion = dialedHandshake{d.handshake}.Version()
	return route
}

func (d dialing) registrar(registrar gen.Registrar) gen.Registrar {
	return dialedRegistrar{registrar, d}
}

type dialedProto struct{ gen.NetworkProto }

func (p dialedProto) Version() gen.Version { return dialed(p.NetworkProto.Version()) }

type dialedHandshake struct{ gen.NetworkHandshake }

func (h dialedHandshake) Version() gen.Version { return dialed(h.NetworkHandshake.Version()) }

func dialed(version gen.Version) gen.Version {
	version.Name += "-dialed"
	return version
}

type dialedRegistrar struct {
	gen.Registrar
	dialing dialing
}

func (r dialedRegistrar) Resolver() gen.Resolver {
	return dialedResolver{r.Registrar.Resolver(), r.dialing}
}

type dialedResolver struct {
	gen.Resolver
	dialing dialing
}

func (r dialedResolver) Resolve(name gen.Atom) ([]gen.Route, error) {
	routes, err := r.Resolver.Resolve(name)
	own := make([]gen.Route, len(routes))
	for i, route := range routes {
		own[i] = r.dialing.route(route)
	}
	return own, err
}
