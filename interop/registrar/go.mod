module example.org/postroad/interop/registrar

go 1.25.0

require (
	ergo.services/ergo v1.999.320
	ergo.services/registrar/etcd v0.0.0
	example.org/postroad/interop v0.0.0
)

replace (
	ergo.services/ergo => github.com/ergo-services/ergo v1.999.320
	example.org/postroad/interop => ../
)
