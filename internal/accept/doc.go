// Package accept holds the long comparisons, as tests with the build tag accept. It has no code of its own.
package accept
