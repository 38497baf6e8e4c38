package ergonode

import (
	"ergo.services/ergo/gen"
	"ergo.services/ergo/net/registrar"
)

func newRegistrar(options Options) gen.Registrar {
	if options.Registrar != nil {
		return options.Registrar
	}
	if options.RegistrarPort == 0 {
		return absent{registrar.Create(registrar.Options{})}
	}
	return registrar.Create(registrar.Options{
		Port:          options.RegistrarPort,
		DisableServer: options.RegistrarClient,
	})
}

// absent is a registrar that is never started: it tells nobody of the node,
// knows nobody, and opens no port.
type absent struct{ gen.Registrar }

func (absent) Register(gen.NodeRegistrar, gen.RegisterRoutes) (gen.StaticRoutes, error) {
	return gen.StaticRoutes{}, nil
}

func (a absent) Resolver() gen.Resolver { return nobody{a.Registrar.Resolver()} }

func (absent) Terminate() {}

type nobody struct{ gen.Resolver }

func (nobody) Resolve(gen.Atom) ([]gen.Route, error) { return nil, gen.ErrNoRoute }
