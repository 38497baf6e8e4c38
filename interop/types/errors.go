package types

import "ergo.services/ergo/gen"

// Coded gives Ergo's own value for an error that has a code of its own in a
// ResponseError frame. Ergo looks for the value, not the text, and decodes to
// its value only what is in the error cache.
func Coded(err error) error {
	for _, own := range []error{gen.ErrProcessUnknown, gen.ErrProcessMailboxFull, gen.ErrProcessTerminated} {
		if err.Error() == own.Error() {
			return own
		}
	}
	return err
}
