module example.org/postroad/interop

go 1.23

require ergo.services/ergo v1.999.320

// Ergo's own address only leads to this repository, and not every module proxy follows it.
replace ergo.services/ergo => github.com/ergo-services/ergo v1.999.320
