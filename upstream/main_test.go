package upstream

import (
	"testing"

	"github.com/postern-mail/postern/internal/peertest/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }
