package idset
import ("testing";"fmt";"context";"syscall";"time")
func cpu() time.Duration { var r syscall.Rusage; syscall.Getrusage(0,&r); return time.Duration(r.Utime.Nano()+r.Stime.Nano()) }
func TestM(t *testing.T){
 for _,k:=range []int{2,20,200} {
 dir:=t.TempDir()
 n:=4_000_000
 paths:=writeUnits(t,Options{Spill:dir,Memory:512<<20},dir,randomIDs(1,n),k)
 for r:=0;r<3;r++{
 for _,mb:=range []int64{1,2,4,8,16,64} {
  var fs []*file
  for _,p:=range paths { f,err:=open(p,idKind); if err!=nil{t.Fatal(err)}; fs=append(fs,f)}
  a:=cpu()
  merge(context.Background(),fs,mb<<20,func([]byte)error{return nil})
  fmt.Printf("k=%d %dMB %.0f | ",k,mb,float64(cpu()-a)/float64(n))
  for _,f:=range fs{f.close()}
 }
 fmt.Println()
 }}
}
