//go:build !linux && !darwin && !freebsd

package metrics

import "errors"

func statfs(string) (room, size float64, err error) { return 0, 0, errors.ErrUnsupported }
