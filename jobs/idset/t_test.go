package idset
import ("syscall";"testing";"time";"fmt";"context";"path/filepath";"encoding/base64";"io")
func TestT(t *testing.T){
 cells := cellsOf(5_000_000)
 dir:=t.TempDir()
 to := NewBuilder(Options{Spill: dir, Memory: 512<<20})
 for r:=0;r<3;r++{
 t0:=cpu()
 n:=0
 for _,c:=range cells.Values{ if _,_,x:=rules.Parse(c);x==""{n++}}
 t1:=cpu()
 var buf [64]byte
 for _,c:=range cells.Values{ base64.StdEncoding.Decode(buf[:],c)}
 t2:=cpu()
 c := NewCollector(rules, to, nil)
 c.Add(cells)
 t3:=cpu()
 out,_:=create(to.opts.Disk,filepath.Join(dir,"u.ids"),idKind,nil)
 to.drain(context.Background(), out.append)
 t4:=cpu()
 out.finish()
 t5:=cpu()
 out.file.Publish()
 t6:=cpu()
 c.Add(cells)
 e:=newEncoder(io.Discard,idKind)
 t7:=cpu()
 to.drain(context.Background(), func(b []byte) error {return nil})
 t8:=cpu()
 e.finish()
 m:=float64(len(cells.Values))
 f:=func(d time.Duration) string { return fmt.Sprintf("%.1f",float64(d.Nanoseconds())/m)}
 fmt.Println("parse",f(t1-t0),"std64",f(t2-t1),"add",f(t3-t2),"drain",f(t4-t3),"finish",f(t5-t4),"publish",f(t6-t5),"drain only",f(t8-t7))
 }
}

func cpu() time.Duration { var r syscall.Rusage; syscall.Getrusage(0,&r); return time.Duration(r.Utime.Nano()+r.Stime.Nano()) }
