package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"golang.org/x/sync/errgroup"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
)

// topModel is the live view. bubbletea calls it from one goroutine.
type topModel struct {
	data          *topData
	events        <-chan *discoveryv1.TapEvent
	interval      time.Duration
	width, height int
	title         string
}

type topTick struct{}

func (m *topModel) Init() tea.Cmd { return m.tick() }

func (m *topModel) tick() tea.Cmd {
	return tea.Tick(m.interval, func(time.Time) tea.Msg { return topTick{} })
}

// Update takes the events that have arrived at each tick: the view changes no faster than it is drawn.
func (m *topModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		switch msg.String() {
		case "q", "ctrl+c", "esc":
			return m, tea.Quit
		case "c":
			m.data = newTopData(m.data.scope)
		}
	case topTick:
		m.drain()
		return m, m.tick()
	}
	return m, nil
}

func (m *topModel) drain() {
	for {
		select {
		case e := <-m.events:
			m.data.add(e)
		default:
			return
		}
	}
}

func (m *topModel) View() tea.View {
	bold, faint := lipgloss.NewStyle().Bold(true), lipgloss.NewStyle().Faint(true)
	lines := strings.Split(strings.TrimRight(m.data.table(max(1, m.height-3)).String(), "\n"), "\n")
	for i, l := range lines {
		if m.width > 0 {
			l = clip(l, m.width)
		}
		if i == 0 {
			l = bold.Render(l)
		}
		lines[i] = l
	}
	head := faint.Render(fmt.Sprintf("%s   q quit   c clear", m.title))
	view := tea.NewView(head + "\n" + strings.Join(lines, "\n"))
	view.AltScreen = true
	return view
}

// topLive shows the view until the user ends it or the stream fails.
func (a *App) topLive(ctx context.Context, client adminv1connect.AdminServiceClient, req *adminv1.TapRequest, f *topFlags) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	// A full second of the default rate of forty proxies; the stream waits when it is full.
	events := make(chan *discoveryv1.TapEvent, 4096)
	model := &topModel{data: newTopData(f.tap.scope), events: events, interval: min(f.interval, 500*time.Millisecond), title: "weft top, at most " + fmt.Sprint(f.tap.maxRPS) + " requests/s of each proxy"}
	program := tea.NewProgram(model, tea.WithContext(ctx), tea.WithInput(a.o.Stdin), tea.WithOutput(a.o.Stdout), tea.WithoutSignalHandler())
	group.Go(func() error { return a.stream(ctx, client, req, events) })
	group.Go(func() error {
		defer cancel()
		_, err := program.Run()
		if errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil {
			return nil // ended by the stream's error or by a signal
		}
		return err
	})
	return group.Wait()
}
