package idset
import ("testing";"fmt";"encoding/binary";"optsweep/schemas")
func copyID(dst []byte, src *schemas.ID) {
 _ = dst[32]
 binary.LittleEndian.PutUint64(dst,binary.LittleEndian.Uint64(src[:]))
 binary.LittleEndian.PutUint64(dst[8:],binary.LittleEndian.Uint64(src[8:]))
 binary.LittleEndian.PutUint64(dst[16:],binary.LittleEndian.Uint64(src[16:]))
 binary.LittleEndian.PutUint64(dst[24:],binary.LittleEndian.Uint64(src[24:]))
 dst[32]=src[32]
}
func TestU(t *testing.T){
 ids:=randomIDs(3,4_000_000)
 flat:=make([]byte,len(ids)*33)
 p:=newPool(512<<20)
 m:=float64(len(ids))
 for r:=0;r<5;r++{
  t0:=cpu()
  for i:=range ids { *record(flat[i*33:])=ids[i] }
  t1:=cpu()
  for i:=range ids { copyID(flat[i*33:],&ids[i]) }
  t2:=cpu()
  for i:=range ids { p.add(&ids[i]) }
  t3:=cpu()
  var es []entry
  sc:=p.scratch()
  var d1,d2,d3,d4 float64
  for i:=range p.parts {
    a:=cpu()
    t:=&p.parts[i]
	e := sc.entries[:0]
	left := t.len()
	for _, c := range t.chunks {
		n := min(left, chunkRecords)
		e = entries(e, p.chunk(c)[:n*idWidth], c*chunkRecords)
		left -= n
	}
    b:=cpu()
	sortEntries(e, sc.tmp[:len(e)])
	c:=cpu()
	es=p.slabs.distinct(e)
	d:=cpu()
	p.slabs.send(es, func([]byte) error {return nil})
	f:=cpu()
	p.release(t)
	d1+=float64(b-a);d2+=float64(c-b);d3+=float64(d-c);d4+=float64(f-d)
  }
  fmt.Printf("flat %.1f copyID %.1f pool %.1f | entries %.1f sort %.1f distinct %.1f send %.1f\n",float64(t1-t0)/m,float64(t2-t1)/m,float64(t3-t2)/m,d1/m,d2/m,d3/m,d4/m)
 }
}
