// Package upstream chooses where a recipient's mail goes and takes it there: routes, recipient sources,
// the relay client with its pool of connections, and the embedded maildir. It knows no filter, holds no
// queue, and thinks nothing of the content it carries.
package upstream
