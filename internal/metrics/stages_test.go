package metrics

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/postern-mail/postern/upstream"
)

// onlyStages is what is read of stageTimes.
type onlyStages struct {
	*stageTimes
	desc *prometheus.Desc
}

func (o onlyStages) Describe(to chan<- *prometheus.Desc) { to <- o.desc }

func (o onlyStages) Collect(to chan<- prometheus.Metric) { o.collect(to, o.desc, "s1") }

// TestStageTimes: the histograms of stages are those that the library would have made, in whatever order stages come.
func TestStageTimes(t *testing.T) {
	names := upstream.Stages()
	s := stageTimesOf(names)
	lib := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "x", Help: "x", Buckets: stepBuckets[:]}, []string{"backend", "phase"})
	for _, stage := range names {
		lib.WithLabelValues("s1", string(stage))
	}
	unknown := 0
	for round, at := range []time.Duration{0, time.Microsecond, time.Millisecond, time.Millisecond + 1, 40 * time.Millisecond, time.Minute, time.Hour} {
		var took []upstream.Took
		for i := range names {
			stage := names[(i*(2*round+1)+round)%len(names)]
			took = append(took, upstream.Took{Stage: stage, For: at}, upstream.Took{Stage: names[0], For: 2 * at})
			lib.WithLabelValues("s1", string(stage)).Observe(at.Seconds())
			lib.WithLabelValues("s1", string(names[0])).Observe((2 * at).Seconds())
		}
		if round > 3 {
			took = append(took, upstream.Took{Stage: "nap", For: at})
			lib.WithLabelValues("s1", other).Observe(at.Seconds())
			unknown++
		}
		unknown -= s.observe(took)
	}
	if unknown != 0 {
		t.Errorf("%d of no stage were not told", unknown)
	}
	text := func(c prometheus.Collector) string {
		r := prometheus.NewPedanticRegistry()
		r.MustRegister(c)
		w := httptest.NewRecorder()
		promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
		return w.Body.String()
	}
	if diff := cmp.Diff(text(lib), text(onlyStages{s, prometheus.NewDesc("x", "x", []string{"backend", "phase"}, nil)})); diff != "" {
		t.Error(diff)
	}
}
