#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Expressions of PyTorch on the emulated Ascend through Huawei's adapter, each beside the same on the processor: of pairs of tensors of
eight types, of floats of three, of integers and switches, of empty tensors, single numbers and views; statements that write; and
gradients. Integers equal, f32 within 1e-5, f16 2e-3, bf16 1.6e-2. What PyTorch does not do on the processor is left out.

In the texts P and Q stand for the two tensors of a pair; ";;" parts them. Names on the command line choose what contains them."""

import itertools
import os
import sys
import warnings

warnings.filterwarnings("ignore")
import torch
import torch.nn.functional as F
import torch_npu  # noqa: F401 - registers the device

LIMITS = {torch.float32: 1e-5, torch.float64: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
ALL_PAIRS = ("a b", "h h2", "e e2", "i j", "i3 j3", "u v", "s s", "k8 k8")
FLOAT_PAIRS, BIT_PAIRS = ALL_PAIRS[:3], (*ALL_PAIRS[3:], "m n")
NUMBERS = """
torch.add(P,Q) ;; torch.sub(P,Q) ;; torch.mul(P,Q) ;; torch.maximum(P,Q) ;; torch.minimum(P,Q) ;; torch.eq(P,Q) ;;
torch.ne(P,Q) ;; torch.lt(P,Q) ;; torch.le(P,Q) ;; torch.gt(P,Q) ;; torch.ge(P,Q) ;; torch.logical_and(P,Q) ;;
torch.logical_or(P,Q) ;; torch.logical_xor(P,Q) ;; torch.abs(P) ;; torch.sign(P) ;; torch.neg(P) ;; torch.square(P) ;;
torch.relu(P) ;; torch.logical_not(P) ;; torch.isnan(P) ;; torch.isinf(P) ;; torch.isfinite(P) ;; torch.clone(P) ;;
torch.signbit(P) ;; P+3 ;; P*2 ;; 3-P ;; P-2 ;; P==1 ;; P!=1 ;; P<1 ;; P>1 ;; P<=1 ;; P>=1 ;; P.sum() ;; P.sum(0) ;;
P.sum(1,keepdim=True) ;; P.max() ;; P.min() ;; P.max(1) ;; P.min(0) ;; P.amax(1) ;; P.amin((0,1)) ;; P.argmax() ;;
P.argmin(1) ;; P.clamp(-1,1) ;; P.clamp(min=1) ;; P.clamp(max=1) ;; P.cumsum(1) ;; P.sort(1)[0] ;;
P.float().sort(1,descending=True)[0] ;; P.topk(3,1)[0] ;; torch.where(m,P,Q) ;; torch.where(m,P,0) ;; P.masked_fill(m,1) ;;
P.float() ;; P.half() ;; P.bfloat16() ;; P.int() ;; P.long() ;; P.bool() ;; P.to(torch.int16) ;; P.to(torch.int8) ;;
P.abs().to(torch.uint8) ;; P.cpu().to(d) ;; P.t()+Q.t() ;; P.t().contiguous() ;; P.flip(1) ;; P.roll(2,1) ;; P.repeat(2,3) ;;
P.tril() ;; P.triu(1) ;; torch.zeros_like(P) ;; torch.ones_like(P) ;; torch.full_like(P,3) ;; P.any() ;; P.all(1) ;;
torch.cat([P,Q],1) ;; torch.stack([P,Q]) ;; P.gather(1,L(1,2,3,4,5)[:,None]) ;; P.index_select(1,L(3,0,3)) ;; P[L(1,3,1)] ;;
P[:,L(1,3,1)] ;; P[m] ;; P[1] ;; P.clone().zero_() ;; P.clone().fill_(3) ;; P.clone().copy_(Q) ;; P.clone().add_(Q) ;;
P.clone().mul_(Q) ;; P.clone().sub_(Q) ;; P.masked_select(m) ;; P.nonzero() ;; P.unique() ;; P.diff(dim=1) ;;
torch.equal(P,P) ;; P.prod(1) ;; P.eq(Q).sum() ;; P.scatter(1,L(1,2,0,4,5)[:,None],Q) ;;
P.scatter_add(1,L(1,2,0,4,5)[:,None],Q) ;; P.index_add(0,L(1,0,1,3,2),Q) ;; P.index_copy(0,L(4,1,2,3,0),Q) ;;
P.index_fill(0,L(1),2) ;; torch.remainder(P,3) ;; torch.fmod(P,3) ;; P//2 ;; P%3 ;; torch.div(P,Q) ;;
torch.div(P,Q,rounding_mode='floor') ;; torch.div(P,Q,rounding_mode='trunc') ;; torch.remainder(P,Q) ;; torch.fmod(P,Q) ;;
torch.floor_divide(P,Q) ;; P/2 ;; 1/Q ;; P**2 ;; torch.pow(Q,Q)
"""
FLOATS = """
torch.exp(P) ;; torch.exp2(P) ;; torch.expm1(P) ;; torch.sin(P) ;; torch.cos(P) ;; torch.tan(P) ;; torch.sinh(P) ;;
torch.cosh(P) ;; torch.tanh(P) ;; torch.asinh(P) ;; torch.atan(P) ;; torch.erf(P) ;; torch.erfc(P) ;; torch.sigmoid(P) ;;
torch.floor(P) ;; torch.ceil(P) ;; torch.round(P) ;; torch.trunc(P) ;; torch.frac(P) ;; torch.reciprocal(P) ;; torch.log(Q) ;;
torch.log2(Q) ;; torch.log10(Q) ;; torch.log1p(Q) ;; torch.sqrt(Q) ;; torch.rsqrt(Q) ;; F.relu(P) ;; F.silu(P) ;; F.gelu(P) ;;
F.softplus(P) ;; F.elu(P) ;; F.leaky_relu(P) ;; F.hardtanh(P) ;; F.hardswish(P) ;; F.hardsigmoid(P) ;; F.mish(P) ;;
F.selu(P) ;; F.celu(P) ;; F.logsigmoid(P) ;; F.relu6(P) ;; F.softsign(P) ;; F.tanhshrink(P) ;; P.mean() ;; P.mean(1) ;;
P.std() ;; P.std(1) ;; P.var(0,unbiased=False) ;; torch.var_mean(P,1) ;; P.norm() ;; P.norm(dim=1) ;; P.norm(1) ;;
P.norm(float('inf')) ;; torch.linalg.vector_norm(P,dim=1) ;; P.softmax(1) ;; P.log_softmax(0) ;; P.logsumexp(1) ;;
P.cumprod(1) ;; torch.atan2(P,Q) ;; torch.lerp(P,Q,0.3) ;; torch.lerp(P,Q,Q) ;; torch.addcmul(P,Q,Q,value=0.4) ;;
torch.addcdiv(P,P,Q,value=0.4) ;; P.matmul(Q.t()) ;; P @ Q[0] ;; torch.outer(P[0],Q[1]) ;; torch.dot(P[0],Q[1]) ;;
torch.einsum('ij,kj->ik',P,Q) ;; torch.baddbmm(P[None],P[None,:,:5],Q[None,:5],beta=.3,alpha=1.2) ;;
F.layer_norm(P,(7,),P[0],Q[0],1e-3) ;; F.layer_norm(P,(5,7)) ;; F.normalize(P,dim=1) ;; F.linear(P,Q,Q[:,0]) ;;
F.linear(P,Q) ;; F.dropout(P,0.0) ;; F.dropout(P,0.5,training=False) ;; torch.nan_to_num(P/0) ;; torch.hypot(P,Q) ;;
P.logaddexp(Q) ;; F.rms_norm(P,(7,),Q[0],1e-5) ;; F.threshold(P,0.2,-1) ;; F.smooth_l1_loss(P,Q) ;; F.l1_loss(P,Q) ;;
F.huber_loss(P,Q) ;; F.mse_loss(P,Q) ;; F.kl_div(P,Q) ;; F.binary_cross_entropy_with_logits(P,Q.clamp(0,1)) ;;
F.binary_cross_entropy(P.sigmoid(),Q.clamp(0,1)) ;; F.cosine_similarity(P,Q) ;; F.cross_entropy(P,L(1,0,6,3,2)) ;;
F.cross_entropy(P,L(1,-100,6,3,2),label_smoothing=.1) ;;
F.cross_entropy(P,L(1,0,2,3,2),weight=Q[0],ignore_index=2,reduction='none') ;; F.cross_entropy(P,Q.softmax(1)) ;;
F.one_hot(L(1,4,2),6) ;; torch.addmv(P[:,0],P,Q[0]) ;; torch.addr(P,P[:,0],Q[0]) ;; torch.mv(P,Q[0]) ;;
P.clone().clamp_(-.3,.4) ;; P.clone().div_(Q) ;; P.clone().div_(3) ;; Q.clone().pow_(2) ;; Q.clone().sqrt_() ;;
Q.clone().exp_() ;; P.clone().sigmoid_() ;; P.clone().tanh_() ;; P.clone().relu_() ;; P.clone().neg_() ;; P.clone().abs_() ;;
P.clone().addcmul_(Q,Q,value=.2) ;; P.clone().addcdiv_(Q,Q,value=.2) ;; P.clone().lerp_(Q,.2) ;;
P.clone().masked_fill_(m,-3) ;; P.clone().floor_() ;; P.clone().round_() ;; P.clone().ceil_() ;; P.clone().trunc_() ;;
Q.clone().log_() ;; Q.clone().rsqrt_() ;; Q.clone().reciprocal_() ;; P.clone().sin_() ;; P.clone().cos_() ;;
P.clone().erf_() ;; P.round(decimals=1)
"""
# Shifts of switches are left out below: the adapter makes integers of them, the processor does not.
BITS = """
P & Q ;; P | Q ;; P ^ Q ;; ~P ;; P & 3 ;; P | 4 ;; P ^ 5 ;; P << 2 ;; P >> 1 ;; P << Q.abs() ;; P >> Q.abs() ;;
P.bitwise_not()
"""
PLAIN = """
m.any() ;; m.all() ;; m.any(1) ;; m.sum() ;; m.sum(1) ;; m.cumsum(1) ;; m.long() ;; m.float() ;; m.nonzero() ;;
m.nonzero(as_tuple=True) ;; a[m] ;; m.logical_not() ;; m.logical_xor(n) ;; m==n ;; m!=n ;; torch.where(m) ;; m.argmax(1) ;;
m.int().argmax(1) ;; m.max(1)[0] ;; m.float().mean() ;; m.count_nonzero() ;; m.count_nonzero(1) ;; m.flip(0) ;;
m.t().contiguous() ;; m.repeat(2,1) ;; m.tril() ;; m.triu() ;; m[L(1,2)] ;; m.index_select(0,L(1,2)) ;;
m.clone().fill_(True) ;; torch.cat([m,n]) ;; torch.stack([m,n]) ;; m.masked_fill(n,False) ;; m.logical_and(n) ;;
m.logical_or(n) ;; m.logical_and(a) ;; m+n ;; m*n ;; m.to(torch.uint8) ;; m.all(0,keepdim=True) ;;
m.gather(1,L(1,2,3,4,5)[:,None]) ;; m.unique() ;; m.expand(2,5,7).contiguous() ;; a*m ;; a+m ;; i*m ;; i+a ;; i*a ;; i3+a ;;
i3+i ;; u+i ;; h+a ;; e+a ;; h*i ;; a+one ;; one+a ;; i+one ;; a*T(2) ;; a+T(2.5) ;; T(3)-a ;; i+T(2) ;; h+T(2.5) ;; a>T(0) ;;
a==0 ;; one.item() ;; T(5).item() ;; one+one ;; one*2 ;; one.exp() ;; one.sum() ;; one.max() ;; one.reshape(1) ;;
one.expand(3).contiguous() ;; torch.stack([one,one]) ;; z0 ;; z0+1 ;; z0.sum() ;; z0.sum(0) ;; z0.sum(1) ;; z0.mean(0) ;;
z0.t() ;; z0@r(3,4) ;; r(4,0)@r(0,3) ;; torch.cat([z0,r(2,3)]) ;; z0.float() ;; z0.long() ;; z0.softmax(1) ;; z0.exp() ;;
z0.clone() ;; z0[:0] ;; z0*z0 ;; z0>0 ;; z0.any() ;; z0.all() ;; z0.nonzero() ;; z0.reshape(3,0) ;; z0.cumsum(1) ;;
F.relu(z0) ;; F.linear(z0,r(4,3),r(4)) ;; F.embedding(L(),r(4,3)) ;; r(4,3)[L()] ;; r(4,3).index_select(0,L()) ;;
z0.sort(1)[0] ;; z0.max(1)[0] ;; torch.where(z0>0,z0,z0) ;; z0.gather(0,ri(0,3)) ;;
z0.unsqueeze(0).expand(2,0,3).contiguous() ;; F.layer_norm(z0,(3,)) ;; z0.mean() ;; z0.norm() ;;
r(3,5).index_add(0,L(),r(0,5)) ;; torch.zeros(0,device=d).sum() ;; torch.arange(0,device=d) ;; F.one_hot(L(),3) ;;
torch.bincount(L(),minlength=4) ;; torch.arange(5,device=d) ;; torch.arange(2,9.5,.5,device=d) ;;
torch.arange(1,9,3,dtype=torch.int32,device=d) ;; torch.arange(5,dtype=torch.float16,device=d) ;;
torch.arange(5,0,-1,device=d) ;; torch.linspace(0,1,7,device=d) ;; torch.eye(4,device=d) ;; torch.eye(3,5,device=d) ;;
torch.zeros(3,4,device=d) ;; torch.ones(3,4,device=d,dtype=torch.int64) ;; torch.full((3,2),4,device=d) ;;
torch.full((3,2),1.5,device=d,dtype=torch.bfloat16) ;; torch.tril(torch.ones(4,4,device=d,dtype=torch.bool)) ;;
torch.triu(torch.full((4,4),float('-inf'),device=d),1) ;; torch.tril_indices(3,3,device=d) ;;
torch.triu_indices(3,4,1,device=d) ;; torch.empty(3,device=d).fill_(2) ;; torch.tensor([1,2,3],device=d) ;;
torch.tensor(True,device=d) ;; torch.tensor([1.5],device=d,dtype=torch.float16) ;; torch.as_tensor([1,2],device=d) ;;
a.new_zeros(3) ;; a.new_full((2,),3.) ;; a.new_tensor([1.,2.]) ;; a.new_ones(2,2) ;; torch.scalar_tensor(3.,device=d) ;;
torch.meshgrid(c,c,indexing='ij') ;; torch.cartesian_prod(L(1,2),L(3,4)) ;; torch.combinations(L(1,2,3)) ;;
torch.block_diag(a,b) ;; torch.diag(c) ;; a[:5,:5].diag() ;; a.diagonal(1) ;; torch.diag_embed(a) ;; a[:5,:5].trace() ;;
torch.vander(c[:3]) ;; a.split(3,1) ;; a.chunk(2,1) ;; a.unbind(0) ;; a.view(7,5) ;; a.reshape(-1) ;; a.flatten() ;;
x.permute(0,2,1,3).contiguous() ;; x.transpose(1,3).contiguous() ;; x.permute(3,2,1,0)+1 ;; x.unfold(2,2,1).contiguous() ;;
x.squeeze() ;; a[None].expand(3,5,7)+1 ;; a[::2,1::3] ;; a[::2,1::3]+1 ;; a[1:4].clone() ;; x.narrow(1,1,2)+1 ;;
x.select(1,2)*2 ;; x[...,-1] ;; x[:,None]+1 ;; x.movedim(1,3)+0 ;; x.swapaxes(0,2)*1 ;; x.flatten(1,2)+0 ;;
x.unflatten(3,(5,1))+0 ;; torch.as_strided(a,(3,3),(7,2),1)+0 ;; torch.as_strided(a,(3,3),(1,1),1)+0 ;;
a.t()[1:3].contiguous() ;; x.flip((1,3)) ;; x.roll((1,2),(0,2)) ;; x.roll(3) ;; x.repeat_interleave(2,1) ;;
a.repeat_interleave(2) ;; c.repeat_interleave(L(1,0,2,1,1,1,3)) ;; torch.tile(a,(2,1,2)) ;; torch.rot90(a) ;;
torch.hstack([a,b]) ;; torch.vstack([a,b]) ;; torch.dstack([a,b]) ;; torch.tensor_split(a,3,1) ;;
torch.broadcast_tensors(a,c) ;; a.broadcast_to(2,5,7)+0 ;; F.pad(x,(1,2)) ;; F.pad(x,(1,2,0,1),value=3.) ;;
F.pad(x,(1,1),mode='reflect') ;; F.pad(x,(1,1),mode='replicate') ;; F.pad(x,(1,1,1,1),mode='circular') ;; F.pad(a,(-1,-1)) ;;
F.pad(i,(1,2),value=7) ;; F.pad(m,(1,0),value=True) ;; F.pad(e,(0,3)) ;; x.sum((1,2)) ;; x.mean((0,3),keepdim=True) ;;
x.amax((1,3)) ;; x.var((1,2)) ;; x.std(3) ;; x.norm(dim=(1,2)) ;; x.cumsum(2) ;; x.softmax(2) ;; x.logsumexp((1,2)) ;;
x.argmax(2) ;; x.max(2) ;; x.median() ;; a.median(1) ;; a.mode(1) ;; a.kthvalue(2,1) ;; a.quantile(.3) ;;
a.quantile(T([.2,.7]),1) ;; a.sort(0) ;; a.argsort(1) ;; a.argsort(1,descending=True) ;; a.sort(1,stable=True) ;; a.topk(3) ;;
a.topk(3,largest=False) ;; a.topk(2,0) ;; a.topk(3,1,sorted=False)[0].sort()[0] ;; i.topk(3)[0] ;; a.cummax(1) ;;
a.cummin(1) ;; a.logcumsumexp(1) ;; torch.bincount(L(1,3,3,0)) ;; torch.bincount(L(1,3,3,0),minlength=6) ;;
torch.bincount(L(1,3,3,0),weights=c[:4]) ;; torch.unique(L(3,1,3,2)) ;; torch.unique(L(3,1,3,2),return_inverse=True) ;;
torch.unique(L(3,1,3,2),return_counts=True) ;; torch.unique(L(3,1,3,2),return_inverse=True,return_counts=True) ;;
torch.unique_consecutive(L(3,3,1,1,3)) ;; torch.unique_consecutive(L(3,3,1,1,3),return_counts=True) ;;
torch.unique(ri(4,3,lo=0,hi=2),dim=0) ;; torch.searchsorted(L(1,3,5,7),L(2,5,9)) ;; torch.bucketize(a,c.sort()[0]) ;;
torch.isin(i,L(1,2,3)) ;; torch.isclose(a,a+1e-9) ;; torch.allclose(a,a) ;; torch.tensordot(x,x,([1,2],[1,2])) ;;
torch.kron(a[:2,:2],b[:2,:2]) ;; torch.einsum('bijk,bijl->bkl',x,x) ;; torch.einsum('bij,bjk->bik',x[0],x[1].transpose(1,2)) ;;
x@x.transpose(-1,-2) ;; torch.bmm(x[0],x[1].transpose(1,2)) ;; x[0]@x[1,0].t() ;; x@r(5,2) ;; r(5)@x.transpose(-1,-2) ;;
torch.addbmm(r(4,4),x[0],x[1].transpose(1,2)) ;; torch.matmul(x,r(5)) ;; torch.inner(a,b) ;; torch.trapz(c) ;;
torch.clip(a,0) ;; a.clamp(min=b) ;; a.clamp(b-1,b) ;; i.clamp(j-4,j) ;; torch.fmax(a,b) ;; torch.fmin(a,b) ;;
torch.copysign(a,-b) ;; a.abs().pow(.5) ;; a.pow(3) ;; i**2 ;; 2**a ;; 2**i3 ;; torch.pow(b,a) ;; torch.true_divide(i,j) ;;
i/j ;; i/2 ;; i//j ;; i.float()/3 ;; torch.gcd(i,j) ;; a.sgn() ;; torch.heaviside(a,b) ;; torch.special.expit(a) ;;
torch.sinc(a) ;; torch.xlogy(b,b) ;; torch.deg2rad(a) ;; torch.square(a) ;; torch.std_mean(a) ;; a.aminmax() ;;
a.aminmax(dim=1) ;; a.nansum() ;; a.nanmean() ;; (a/0).isnan() ;; (a/0).isinf() ;; torch.isposinf(a/0) ;;
torch.isneginf(a/0) ;; a.dist(b) ;; a.isreal() ;; torch.numel(a) ;; a.index_put((L(1,2),L(3,4)),T(9.)) ;;
a.index_put((L(1,1),L(3,3)),c[:2],accumulate=True) ;; a.clone().index_put_((m,),T(3.)) ;; a.clone().masked_scatter_(m,b) ;;
a.masked_scatter(m,b) ;; a.scatter(1,L(1,2,3,4,5)[:,None],3.) ;; a.scatter(0,ri(2,7,lo=0,hi=5),b,reduce='add') ;;
a.scatter_reduce(1,ri(5,7,lo=0,hi=7),b,'sum') ;; a.scatter_reduce(1,ri(5,7,lo=0,hi=7),b,'amax') ;;
a.scatter_reduce(1,ri(5,7,lo=0,hi=7),b,'mean') ;; a.scatter_reduce(1,ri(5,7,lo=0,hi=7),b,'prod') ;;
a.scatter(1,ri(5,1,lo=0,hi=7),b) ;; torch.zeros(4,3,device=d).scatter_(1,L(1,2,0,1)[:,None],1.) ;;
torch.zeros(4,3,dtype=torch.bool,device=d).scatter_(1,L(1,2,0,1)[:,None],True) ;;
torch.zeros(4,3,dtype=torch.int64,device=d).scatter_(1,L(1,2,0,1)[:,None],1) ;;
torch.zeros(4,3,device=d).scatter_add_(0,L(1,2,0,1)[None,:3],r(1,3)) ;; a.index_reduce(0,L(1,0,1,3,2),b,'amax') ;;
a.take(L(3,8,1)) ;; torch.take_along_dim(a,a.argsort(1),1) ;; a.put(L(1,2),T([5.,6.])) ;; a.select_scatter(c,0,1) ;;
a.slice_scatter(b[:2],0,1,3) ;; a.diagonal_scatter(c[:5]) ;; a[L(1,2),L(3,4)] ;; a[L(1,2)][:,L(3,4)] ;;
a[L(1,2)[:,None],L(3,4)] ;; x[:,L(1,2),:,L(3,4)] ;; x[L(1,0),:,L(3,1)] ;; x[:,L(1,2),L(3,0)] ;; x[...,L(1,2)] ;; x[m[:2,:3]] ;;
x[:,m[:3,:4]] ;; x[1,L(2,0)] ;; x[L(-1)] ;; a[:,m[0]] ;; a[m[:,0]] ;; a[m[:,0],1] ;; a[m.nonzero(as_tuple=True)]
"""
STATEMENTS = """
y=a.clone(); y[1]=2 ;; y=a.clone(); y[m]=0 ;; y=a.clone(); y[m]=b[m] ;; y=a.clone(); y[:,1:3]=b[:,:2] ;;
y=a.clone(); y[L(1,2)]=b[:2] ;; y=a.clone(); y[L(1,2),L(0,3)]=7 ;; y=a.clone(); y[:,L(0,3)]=c[:2] ;;
y=a.clone(); y[...,-1]+=1 ;; y=a.clone(); y[m[:,0]]=1.5 ;; y=a.clone(); y+=1; y*=2; y-=b; y/=3 ;;
y=i.clone(); y+=1; y*=2; y-=j; y//=3; y%=4 ;; y=i.clone(); y&=3; y|=8; y^=1; y<<=1; y>>=1 ;; y=m.clone(); y&=n; y|=m; y^=n ;;
y=x.clone(); y[:,L(0,2),:,1]=4 ;; y=a.clone(); y[a>0.5]*=2 ;; y=a.clone(); y.clamp_(min=0).sqrt_() ;;
y=torch.empty(5,7,device=d); torch.add(a,b,out=y) ;; y=torch.empty(5,7,device=d); torch.mul(a,b,out=y) ;;
y=torch.empty(5,5,device=d); torch.mm(a,b.t(),out=y) ;; y=torch.empty(5,5,device=d); torch.matmul(a,b.t(),out=y) ;;
y=torch.empty(0,device=d); torch.cat([a,b],out=y) ;; y=torch.empty(5,device=d); torch.sum(a,1,out=y) ;;
y=torch.empty(5,7,device=d); torch.exp(a,out=y) ;; y=torch.empty(5,7,device=d); torch.sub(a,b,out=y) ;;
y=torch.empty(5,7,device=d); torch.div(a,b,out=y) ;; y=torch.empty(5,7,device=d); torch.softmax(a,1,out=y) ;;
y=torch.empty(5,7,device=d); torch.clamp(a,0,1,out=y) ;; y=torch.empty(5,7,device=d); torch.where(m,a,b,out=y) ;;
y=(torch.empty(5,3,device=d),torch.empty(5,3,dtype=torch.int64,device=d)); torch.topk(a,3,out=y) ;;
y=torch.empty(5,device=d); torch.mean(a,1,out=y) ;; y=torch.empty(4,7,device=d); torch.index_select(a,0,L(1,2,3,0),out=y) ;;
y=torch.empty(5,device=d); torch.norm(a,dim=1,out=y) ;; y=torch.empty(5,7,dtype=torch.bool,device=d); torch.lt(a,b,out=y) ;;
y=torch.empty(5,7,dtype=torch.bool,device=d); torch.logical_and(m,n,out=y) ;;
y=torch.empty(7,device=d); torch.arange(7,out=y) ;; y=torch.empty(5,7,device=d); torch.maximum(a,b,out=y) ;;
y=torch.empty(5,7,device=d).t(); y.copy_(a.t()) ;; y=torch.empty(5,7,device=d,dtype=torch.float16); y.copy_(a) ;;
y=a.half(); y.copy_(i) ;; y=torch.empty(3,5,7,device=d); y.copy_(a) ;; y=i.clone(); y.copy_(a*3) ;;
y=torch.arange(10,device=d)*2**60//3+12345678901234567 ;; y=(torch.arange(10,device=d)+2**53+1).clone() ;;
y=torch.arange(4,device=d)*(2**61) ;; y=T([2**62+1,3]).t().contiguous() ;; y=T([2**62+1,3])[L(0,0,1)] ;;
y=torch.cat([T([2**62+1,3]),T([2**60+1])]) ;; y=T([2**62+1,2**62+3]).sort(descending=True)[0] ;;
y=T([2**62+1,2**62+3]).max() ;; y=T([2**62+1,2**62+3])==T([2**62+2,2**62+3]) ;; y=T([2**31-1],dtype=torch.int32)+1 ;;
y=T([250],dtype=torch.uint8)+10 ;; y=T([100],dtype=torch.int8)*2 ;; y=T([300,-5]).to(torch.uint8) ;;
y=T([300,-5]).to(torch.int8) ;; y=T([70000]).to(torch.int16) ;; y=T([2**62+1]).sum() ;; y=T([2**62+1]).float() ;;
y=-T([2**62+1])
"""
GRADIENTS = """
F.silu(a) ;; F.gelu(a) ;; F.layer_norm(a,(7,),b[0],b[1]) ;; F.rms_norm(a,(7,),b[0]) ;; F.softplus(a) ;; F.elu(a) ;;
F.leaky_relu(a,.2) ;; F.hardtanh(a) ;; F.hardswish(a) ;; F.hardsigmoid(a) ;; F.mish(a) ;; F.selu(a) ;; F.logsigmoid(a) ;;
F.relu(a) ;; a.tanh() ;; a.sigmoid() ;; a.exp() ;; b.log() ;; b.sqrt() ;; b.rsqrt() ;; b**2.5 ;; a**2 ;; b**a ;; a/b ;; a*b ;;
a-b ;; a@b.t() ;; torch.bmm(a[None],b.t()[None]) ;; a@b[0] ;; torch.outer(a[0],b[0]) ;;
torch.addmm(a[:,:5],a,b.t(),beta=.2,alpha=.7) ;; F.linear(a,b,b[:,0]) ;; F.linear(a[None].expand(2,5,7),b,b[:,0]) ;;
a.softmax(1) ;; a.log_softmax(1) ;; a.logsumexp(1) ;; a.mean(1) ;; a.var(1) ;; a.std() ;; a.norm() ;; a.norm(dim=1) ;;
a.max() ;; a.max(1)[0] ;; a.amax(1) ;; torch.minimum(a,b) ;; a.clamp(-.5,.5) ;; a.clamp(min=b-1) ;; torch.where(m,a,b) ;;
a.gather(1,L(1,2,3,4,5)[:,None]) ;; a[L(1,1,2)] ;; a[L(1,1,2),L(0,0,3)] ;; a[m] ;; a.index_select(1,L(1,1,3)) ;;
a.scatter(1,L(1,2,3,4,5)[:,None],b) ;; a.scatter_add(1,L(1,2,3,4,5)[:,None],b) ;; a.index_add(0,L(1,0,1,3,2),b) ;;
torch.cat([a,b],1) ;; torch.stack([a,b],1) ;; a.split(3,1)[1] ;; sum(t.sum() for t in a.chunk(2,1)) ;; a.unbind(1)[2] ;;
a.cumsum(1) ;; b.cumprod(1) ;; a.sort(1)[0] ;; a.topk(3,1)[0] ;; a.roll(2,1) ;; a.flip(1) ;; a.repeat(2,2) ;;
a.repeat_interleave(2,0) ;; a[None].expand(3,5,7) ;; F.pad(a,(1,2)) ;; a.tril() ;;
F.embedding(L(1,2,1),a) ;; F.embedding(L(1,2,1),a,padding_idx=2) ;; a.masked_fill(m,0.) ;; F.cross_entropy(a,L(1,0,6,3,2)) ;;
F.cross_entropy(a,L(1,-100,6,3,2),label_smoothing=.1,weight=b[0].detach()) ;;
F.cross_entropy(a,L(1,-100,6,3,2),reduction='sum') ;; F.cross_entropy(a,b.softmax(1)) ;;
 F.nll_loss(a.log_softmax(1),L(1,0,6,3,2)) ;;
F.binary_cross_entropy_with_logits(a,b.clamp(0,1).detach()) ;; F.binary_cross_entropy(a.sigmoid(),b.clamp(0,1).detach()) ;;
F.mse_loss(a,b) ;; F.l1_loss(a,b) ;; F.smooth_l1_loss(a,b) ;; F.huber_loss(a,b) ;; F.kl_div(a.log_softmax(1),b.softmax(1)) ;;
F.cosine_similarity(a,b) ;; F.normalize(a) ;; a.abs() ;; a*a.sign() ;; a.erf() ;; a.sin()*a.cos() ;; a.atan() ;; a.tan() ;;
a.trunc()*a ;; a.round()*a ;; a.lerp(b,.3) ;; torch.addcmul(a,a,b,value=.3) ;; torch.addcdiv(a,a,b,value=.3) ;;
torch.einsum('ij,kj->ik',a,b) ;; F.scaled_dot_product_attention(x,x,x) ;;
F.scaled_dot_product_attention(x,x*2,x,is_causal=True) ;;
F.scaled_dot_product_attention(x,x*2,x,attn_mask=T([[1,0,1,1]]*4,dtype=torch.bool)) ;;
F.scaled_dot_product_attention(x,x*2,x,attn_mask=r(4,4)) ;; F.conv1d(x[0],r(2,4,3)) ;;
F.conv1d(x[0],r(2,4,3),r(2),padding=1) ;; F.conv2d(x,r(2,3,3,3),r(2),padding=1) ;;
F.conv2d(x,r(6,1,2,2),None,stride=2,groups=3) ;; F.conv_transpose2d(x,r(3,2,2,2),r(2),stride=2) ;; F.max_pool2d(x,2) ;;
F.avg_pool2d(x,2) ;; F.max_pool1d(x[0],2) ;; F.avg_pool1d(x[0],2) ;; F.adaptive_avg_pool2d(x,1) ;;
F.adaptive_avg_pool2d(x,2) ;; F.batch_norm(x,None,None,training=True) ;;
F.batch_norm(x,r(3).detach(),b.detach()[0,:3],training=False) ;; F.group_norm(r(2,6,4).detach()*x.mean(),2) ;;
F.group_norm(x,3) ;; F.instance_norm(x) ;;
 F.pixel_shuffle(r(1,4,2,2).detach()*x.mean(),2) ;;
 F.dropout(a,0.) ;;
F.multi_head_attention_forward(a[:,None,:6],a[:,None,:6],a[:,None,:6],6,2,r(18,6).detach(),r(18).detach(),None,None,False,0.,r(6,6).detach(),r(6).detach())[0] ;;
a.prod(1) ;; a.median() ;; torch.diag_embed(a) ;; a[:5,:5].trace() ;; (b/2).logit() ;; a.unfold(1,3,2) ;;
a.as_strided((3,3),(7,1)) ;; a.half().float() ;; (a.bfloat16()@b.bfloat16().t()).float() ;; a.to(torch.float16).exp() ;;
a.index_put((L(1,2),L(3,4)),b[0,:2]) ;; a.clone().mul_(b).add_(1) ;;
(lambda y:(y.__setitem__((slice(None),1),b[:,0]),y)[1])(a.clone()) ;; a.triu(1) ;; a[None].squeeze(0)*2 ;;
torch.nan_to_num(a) ;; torch.fmod(a,.7) ;; torch.remainder(a,.7) ;; torch.logaddexp(a,b) ;; a.logcumsumexp(1) ;;
torch.baddbmm(a[None,:,:5],a[None],b.t()[None]) ;; x@x.transpose(-1,-2) ;; b[0]@a.t() ;; x.sum((1,2)).var() ;; (a/3).acos() ;;
a.sinh() ;; F.triplet_margin_loss(a,b,a*2) ;; F.margin_ranking_loss(a,b,torch.sign(c).detach()) ;;
F.hinge_embedding_loss(a,T([1.,-1,1,1,-1])[:,None]) ;; F.softshrink(a) ;; F.hardshrink(a) ;;
F.multilabel_soft_margin_loss(a,b.clamp(0,1).round().detach()) ;; F.gaussian_nll_loss(a,b,b) ;; F.poisson_nll_loss(a,b)
"""


def names_on(device):
    """The tensors that the texts name, and what makes more of them, always with the same numbers."""
    generator = torch.Generator().manual_seed(5)

    def real(*shape, lo=-2.0, hi=2.0, dt=torch.float32):
        return (torch.rand(*shape, generator=generator) * (hi - lo) + lo).to(dt).to(device)

    def whole(*shape, lo=-9, hi=10, dt=torch.int64):
        return torch.randint(lo, hi, shape, generator=generator).to(dt).to(device)

    def given(v, **more):
        return torch.tensor(v, device=device, **more)

    return {
        "torch": torch, "F": F, "d": device, "r": real, "ri": whole, "T": given, "L": lambda *v: given(v, dtype=torch.int64),
        "a": real(5, 7), "b": real(5, 7, lo=0.3, hi=1.7), "c": real(7, lo=0.5), "m": real(5, 7) > 0.4, "n": real(5, 7) > -0.3,
        "x": real(2, 3, 4, 5), "i": whole(5, 7), "j": whole(5, 7, lo=1, hi=6), "i3": whole(5, 7, dt=torch.int32),
        "j3": whole(5, 7, lo=1, hi=6, dt=torch.int32), "u": whole(5, 7, lo=0, hi=200, dt=torch.uint8),
        "v": whole(5, 7, lo=1, hi=9, dt=torch.uint8), "s": whole(5, 7, dt=torch.int16), "k8": whole(5, 7, dt=torch.int8),
        "h": real(5, 7, dt=torch.float16), "h2": real(5, 7, lo=0.3, hi=1.7, dt=torch.float16), "e": real(5, 7, dt=torch.bfloat16),
        "e2": real(5, 7, lo=0.3, hi=1.7, dt=torch.bfloat16), "z0": torch.empty(0, 3, device=device), "one": real(1)[0],
    }  # fmt: skip


def slopes(text, names):
    """The value and what each of a, b and x has to do with it, weighted unevenly."""
    inputs = [names[k].detach().clone().requires_grad_() for k in "abx"]
    names.update(zip("abx", inputs))
    y = eval(text, names)
    weights = torch.linspace(0.5, 1.5, y.numel()).reshape(y.shape).to(y.device).to(y.dtype)
    (y * weights).sum().backward()
    return [y.detach(), *(torch.zeros(1) if t.grad is None else t.grad for t in inputs)]


def run(kind, text, device):
    torch.manual_seed(1)
    names = names_on(device)
    if kind == "gradient":
        return slopes(text, names)
    if kind == "statement":
        exec(text, names)
        return names["y"]
    return eval(text, names)


def flat(values):
    if isinstance(values, torch.Tensor):
        return [values.detach().cpu()]
    if isinstance(values, (list, tuple)):
        return [t for v in values for t in flat(v)]
    return [torch.tensor(values)]


def difference(want, got):
    """None where they agree."""
    want, got = flat(want), flat(got)
    for p, q in itertools.zip_longest(want, got):
        if p is None or q is None or p.shape != q.shape or p.dtype != q.dtype:
            return "other shapes or types"
        if not p.is_floating_point():
            if not torch.equal(p, q):
                return f"{q.flatten()[:6].tolist()}, want {p.flatten()[:6].tolist()}"
            continue
        p, q, limit = p.double(), q.double(), LIMITS[p.dtype]
        off = ((p - q).abs() / (1 + p.abs())).masked_fill((p == q) | (p.isnan() & q.isnan()), 0)
        if off.numel() and not float(off.max()) <= limit:
            return f"off by {float(off.max()):.1e}"
    return None


def cases():
    for texts, pairs in ((NUMBERS, ALL_PAIRS), (FLOATS, FLOAT_PAIRS), (BITS, BIT_PAIRS)):
        for pair, text in itertools.product(pairs, texts.split(";;")):
            p, q = pair.split()
            if p == "m" and ("<<" in text or ">>" in text):
                continue
            yield "value", "".join({"P": p, "Q": q}.get(c, c) for c in text.strip())
    for kind, texts in (("value", PLAIN), ("statement", STATEMENTS), ("gradient", GRADIENTS)):
        yield from ((kind, text.strip()) for text in texts.split(";;"))


def run_from(todo, first, out):
    """In a process of its own, until one fails: an operator that is not emulated ends the device."""
    for n in range(first, len(todo)):
        try:
            want = run(*todo[n], "cpu")
        except Exception:
            print(n, "left", file=out, flush=True)
            continue
        print(n, "begun", file=out, flush=True)
        try:
            wrong = difference(want, run(*todo[n], "npu"))
        except Exception as why:
            print(n, "failed", " ".join(str(why).split())[:200], file=out, flush=True)
            return
        print(n, "wrong" if wrong else "good", wrong or "", file=out, flush=True)


def main():
    todo = [c for c in dict.fromkeys(cases()) if len(sys.argv) < 2 or any(word in c[1] for word in sys.argv[1:])]
    good = left = at = 0
    failed = []
    while at < len(todo):
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            run_from(todo, at, os.fdopen(theirs, "w"))
            os._exit(0)
        os.close(theirs)
        for line in os.fdopen(ours):
            number, state, *why = line.split(None, 2)
            good += state == "good"
            left += state == "left"
            failed += [f"{todo[int(number)][1]}: {why[0].strip()}"] if state in ("failed", "wrong") else []
            at, state_of_last = int(number) + 1, state
        os.waitpid(child, 0)
        if state_of_last == "begun":
            failed.append(f"{todo[at - 1][1]}: the process ended")
    for line in failed:
        print(f"expressions: {line}")
    print(f"expressions: {good} of {len(todo) - left} as on the processor")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
